-- Roles with the least that each needs: whoever migrates, the workers, the shop, and whoever only looks.
--
-- Run it after `returns-worker migrate`, and once more after each later one: new tables and columns are covered by that.
--
--     psql --set ON_ERROR_STOP=1 --file roles.sql postgresql://ADMIN@HOST/NAME
--
-- ADMIN is a superuser, or owns the tables and may create roles. For tables in a schema of their own (database.schema)
-- add --set schema=returns; else they are found by the search path. It may be run as often as you like, also beside
-- running workers: it is one transaction. It names no password; give each role one by psql's \password.
--
-- In the schema of the tables nobody may create any more but its owner, returns_owner, and whom you grant it: what
-- somebody makes there can be called in place of PostgreSQL's own functions, by whoever works with these tables. Up to
-- PostgreSQL 14 everybody may create in the schema public, and a shop may have relied on that: GRANT CREATE ON SCHEMA
-- public TO its role, or better, move these tables to a schema of their own.
--
-- From then on `migrate`, `copy-to` and `archive` connect as returns_owner, `run` and all other commands as returns_worker
-- (with database.auto_migrate = false, which is the default), the shop as returns_shop, dashboards as returns_reader. As
-- these two run what adds, or only looks: docs/operate/database.md has which.
-- A worker opens up to five connections, its pages and a command one each: ALTER ROLE returns_worker CONNECTION LIMIT
-- needs 6 for each worker and a few more.

BEGIN;

-- What waits for a table keeps all that comes later waiting, the shop's inserts too. Where somebody else's transaction is
-- in the way for longer, such as a dump, this ends in "canceling statement due to lock timeout" and has changed nothing:
-- run it again when that has ended.
SET LOCAL lock_timeout = '2s';
\if :{?schema}
SET LOCAL search_path TO :"schema";
\endif
-- What is called here runs as an administrator: only PostgreSQL's own is found, and tables are named with their schema.
DO $$
BEGIN
  PERFORM pg_catalog.set_config('returns_worker.home', CAST(n.nspname AS pg_catalog.text), true)
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) CAST('return_order' AS pg_catalog.regclass);
END $$;
SET LOCAL search_path TO pg_catalog, pg_temp;

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
  home text := current_setting('returns_worker.home');
  thing text;
  is_ours boolean;
  columns text;
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
  EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', home);
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO returns_worker, returns_shop, returns_reader', home);
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO returns_owner, returns_worker, returns_shop, returns_reader',
                 current_database());
  FOREACH thing IN ARRAY ARRAY['return_order', 'status_transition', 'package', 'label', 'archived_return',
                               'carrier_account', 'database_place', 'worker_presence', 'worker_serves',
                               'returns_worker_schema', 'return_overview', 'news_subscriber', 'return_event',
                               'webhook_event', 'webhook_missed'] LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO returns_owner', home, thing);
    EXECUTE format('REVOKE ALL ON TABLE %I.%I FROM PUBLIC, returns_worker, returns_shop, returns_reader', home, thing);
  END LOOP;
  FOREACH thing IN ARRAY ARRAY['return_order_payload_change', 'return_order_shop_request',
                               'status_transition_append_only', 'return_order_wake', 'return_order_not_archived',
                               'return_order_payload_size', 'return_order_named', 'returns_worker_place',
                               'return_order_erase', 'return_order_erase_parts', 'return_order_stays_erased',
                               'label_of_erased', 'archived_return_erase', 'return_order_adopt_once',
                               'return_order_adopt_unsent'] LOOP
    EXECUTE format('ALTER FUNCTION %I.%I() OWNER TO returns_owner', home, thing);
    -- Triggers fire without it: the right is asked for when a trigger is made.
    EXECUTE format('REVOKE ALL ON FUNCTION %I.%I() FROM PUBLIC, returns_worker, returns_shop, returns_reader',
                   home, thing);
  END LOOP;
  -- The table that workers older than schema 0013 read; unless it was ours, it is the shop's.
  EXECUTE format('SELECT version_taken_over_at IS NOT NULL FROM %I.database_place', home) INTO is_ours;
  IF is_ours AND to_regclass(format('%I.alembic_version', home)) IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %I.alembic_version OWNER TO returns_owner', home);
    EXECUTE format('REVOKE ALL ON TABLE %I.alembic_version FROM PUBLIC, returns_worker, returns_shop, returns_reader',
                   home);
    EXECUTE format('GRANT SELECT ON TABLE %I.alembic_version TO returns_worker, returns_shop, returns_reader', home);
  END IF;

  -- Of a return the workers write all but what a person or a shop wrote, and what numbers the rows.
  SELECT string_agg(quote_ident(attname::text), ', ') FROM pg_attribute
   WHERE attrelid = format('%I.return_order', home)::regclass::oid AND attnum > 0 AND NOT attisdropped
     AND attname NOT IN ('id', 'reference', 'payload', 'adopt_carrier_ref', 'shop_changes', 'created_at') INTO columns;
  EXECUTE format('GRANT UPDATE (%s) ON %I.return_order TO returns_worker', columns, home);
  -- Of an account dashboards, and the shop, read all but the fingerprint of a key.
  SELECT string_agg(quote_ident(attname::text), ', ') FROM pg_attribute
   WHERE attrelid = format('%I.carrier_account', home)::regclass::oid AND attnum > 0 AND NOT attisdropped
     AND attname <> 'refused_key' INTO columns;
  EXECUTE format('GRANT SELECT (%s) ON %I.carrier_account TO returns_reader, returns_shop', columns, home);

  PERFORM set_config('search_path', quote_ident(home) || ', pg_temp', true);
END $$;

-- The workers, and every command but migrate, copy-to and archive. What a person or a shop wrote, and what numbers the rows,
-- is not theirs to change; the history is only added to. `account` is for `accounts rename`. To set `erased_at` is to erase:
-- a trigger lets it of what is over alone, and empties the return as the owner.
GRANT SELECT ON return_order, status_transition, package, label, archived_return, carrier_account, database_place,
  worker_presence, worker_serves, return_overview, returns_worker_schema TO returns_worker;
GRANT INSERT (account, reference, payload, adopt_carrier_ref) ON return_order TO returns_worker;  -- `add`, `adopt`
GRANT INSERT ON status_transition, package, label, carrier_account, worker_presence, worker_serves TO returns_worker;
GRANT UPDATE ON package, label, carrier_account, worker_presence TO returns_worker;
GRANT UPDATE (account, erased_at, erased_by, files_removed_at) ON archived_return TO returns_worker;
GRANT DELETE ON carrier_account TO returns_worker;  -- `accounts rename`, `accounts retire`
GRANT DELETE ON worker_presence TO returns_worker;  -- at its start and its end
GRANT SELECT, INSERT, UPDATE, DELETE ON news_subscriber, return_event, webhook_event, webhook_missed TO returns_worker;
GRANT UPDATE (place, creations, restored_at, clock_seen_at, clock_doubted_since) ON database_place TO returns_worker;
GRANT EXECUTE ON FUNCTION returns_worker_place() TO returns_worker;

-- The shop: what README.md shows it, and `add`, `list`, `show`, `label`, `statuses`, `accounts` and `check`, which ask
-- for the schema's version, whether the returns have moved, and what an account waits for. The triggers do the rest.
GRANT SELECT ON return_order, status_transition, package, label, archived_return, worker_presence, worker_serves,
  return_overview TO returns_shop;
GRANT INSERT (account, reference, payload, due_at, adopt_carrier_ref) ON return_order TO returns_shop;
GRANT UPDATE (payload, cancel_requested_at, retry_requested_at) ON return_order TO returns_shop;
GRANT SELECT (moved_to, move_completed_at) ON database_place TO returns_shop;
GRANT SELECT, DELETE ON return_event TO returns_shop;  -- its news, which it deletes as it reads it
GRANT SELECT (name, kind, keep_seconds) ON news_subscriber TO returns_shop;  -- `check`

GRANT SELECT ON returns_worker_schema TO returns_shop;

-- Dashboards, and what the shop runs but `add`. Of an account all but the fingerprint of a key.
GRANT SELECT ON return_order, status_transition, package, label, archived_return, database_place, worker_presence,
  worker_serves, return_overview, returns_worker_schema, news_subscriber, return_event, webhook_event, webhook_missed
  TO returns_reader;

COMMIT;
