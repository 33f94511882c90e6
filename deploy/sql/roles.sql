-- Roles with the least that each needs: whoever migrates, the workers, the shop, and whoever only looks.
--
-- Run it after `returns-worker migrate`, and once more after each later one: new tables and columns are covered by that.
--
--     psql --set ON_ERROR_STOP=1 --file roles.sql postgresql://ADMIN@HOST/NAME
--
-- ADMIN is a superuser, or owns the tables and may create roles. The tables are found by the search path, so for a
-- schema of their own put PGOPTIONS='-c search_path=returns' before it. It may be run as often as you like, also beside
-- running workers: it is one transaction. It names no password; give each role one by psql's \password.
--
-- From then on `migrate`, `copy-to` and `archive` connect as returns_owner, `run` and all other commands as returns_worker
-- (with database.auto_migrate = false, which is the default), the shop as returns_shop, dashboards as returns_reader. As
-- these two run what adds, or only looks: docs/reference/tables.md has which.
-- A worker opens up to five connections, a command one: ALTER ROLE returns_worker CONNECTION LIMIT needs 5 for each
-- worker and a few more.

BEGIN;

-- What waits for a table keeps all that comes later waiting, the shop's inserts too. Where somebody else's transaction is
-- in the way for longer, such as a dump, this ends in "canceling statement due to lock timeout" and has changed nothing:
-- run it again when that has ended.
SET LOCAL lock_timeout = '2s';

DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['returns_owner', 'returns_worker', 'returns_shop', 'returns_reader'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', wanted);
    END IF;
  END LOOP;
END $$;

-- An installation whose tables belonged to somebody else: they are the owner's now, with their indexes and sequences.
DO $$
DECLARE
  home text := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = 'return_order'::regclass);
  thing text;
BEGIN
  -- Whoever is no superuser can give something only to a role that he may become; PostgreSQL 16 tells that from
  -- being a member of it.
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
     AND NOT pg_has_role(current_user, 'returns_owner',
                         CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
  THEN
    EXECUTE format('GRANT returns_owner TO %I', current_user);
  END IF;
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO returns_owner', home);
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO returns_worker, returns_shop, returns_reader', home);
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO returns_owner, returns_worker, returns_shop, returns_reader',
                 current_database());
  FOREACH thing IN ARRAY ARRAY['return_order', 'status_transition', 'package', 'label', 'archived_return',
                               'carrier_account', 'database_place', 'alembic_version'] LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO returns_owner', home, thing);
    EXECUTE format('REVOKE ALL ON TABLE %I.%I FROM PUBLIC, returns_worker, returns_shop, returns_reader', home, thing);
  END LOOP;
  FOREACH thing IN ARRAY ARRAY['return_order_payload_change', 'return_order_shop_request',
                               'status_transition_append_only', 'return_order_wake', 'return_order_not_archived',
                               'return_order_payload_size', 'return_order_named', 'returns_worker_place'] LOOP
    EXECUTE format('ALTER FUNCTION %I.%I() OWNER TO returns_owner', home, thing);
    -- Triggers fire without it: the right is asked for when a trigger is made.
    EXECUTE format('REVOKE ALL ON FUNCTION %I.%I() FROM PUBLIC, returns_worker, returns_shop, returns_reader',
                   home, thing);
  END LOOP;
END $$;

-- The workers, and every command but migrate, copy-to and archive. What a person or a shop wrote, and what numbers the rows,
-- is not theirs to change; the history is only added to. `account` is for `accounts rename`.
GRANT SELECT ON return_order, status_transition, package, label, archived_return, carrier_account, database_place,
  alembic_version TO returns_worker;
GRANT INSERT (account, reference, payload) ON return_order TO returns_worker;  -- `add`
GRANT INSERT ON status_transition, package, label, carrier_account TO returns_worker;
GRANT UPDATE ON package, label, carrier_account TO returns_worker;
GRANT UPDATE (account) ON archived_return TO returns_worker;
GRANT DELETE ON carrier_account TO returns_worker;  -- `accounts rename`, `accounts retire`
GRANT UPDATE (place, creations, restored_at, clock_seen_at, clock_doubted_since) ON database_place TO returns_worker;
GRANT EXECUTE ON FUNCTION returns_worker_place() TO returns_worker;

DO $$
DECLARE
  columns text := (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                    WHERE attrelid = 'return_order'::regclass AND attnum > 0 AND NOT attisdropped
                      AND attname NOT IN ('id', 'reference', 'payload', 'shop_changes', 'created_at'));
BEGIN
  EXECUTE format('GRANT UPDATE (%s) ON return_order TO returns_worker', columns);
END $$;

-- The shop: what README.md and docs/reference/states.md show it, and `add`, `list`, `show`, `label`, `statuses`, `accounts` and `check`, which ask
-- for the schema's version, whether the returns have moved, and what an account waits for. The triggers do the rest.
GRANT SELECT ON return_order, status_transition, package, label, archived_return TO returns_shop;
GRANT INSERT (account, reference, payload, due_at) ON return_order TO returns_shop;
GRANT UPDATE (payload, cancel_requested_at, retry_requested_at) ON return_order TO returns_shop;
GRANT SELECT (moved_to, move_completed_at) ON database_place TO returns_shop;

DO $$
DECLARE
  version text;
BEGIN
  FOREACH version IN ARRAY ARRAY['returns_worker_schema', 'alembic_version'] LOOP
    IF to_regclass(version) IS NOT NULL THEN
      EXECUTE format('GRANT SELECT ON %I TO returns_shop', version);
    END IF;
  END LOOP;
END $$;

-- Dashboards, and what the shop runs but `add`. Of an account all but the fingerprint of a key.
GRANT SELECT ON return_order, status_transition, package, label, archived_return, database_place, alembic_version
  TO returns_reader;

DO $$
DECLARE
  columns text := (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                    WHERE attrelid = 'carrier_account'::regclass AND attnum > 0 AND NOT attisdropped
                      AND attname <> 'refused_key');
BEGIN
  EXECUTE format('GRANT SELECT (%s) ON carrier_account TO returns_reader, returns_shop', columns);
END $$;

COMMIT;
