"""What must be on PostgreSQL's disk when it is acknowledged, whatever the server's defaults are, and what is at risk.

With `synchronous_commit = off` a crash of the server forgets the last commits although it acknowledged them
(https://www.postgresql.org/docs/current/wal-async-commit.html). Were the intent to create among them, or the lease
token that fences it, the return would be created twice: nothing else tells that the server crashed. A commit that is on
disk has every earlier one on disk too. SQLite is told so for every commit, see `worker.store.sqlite`.
"""

from sqlalchemy import Connection, text

from worker.store.dialect import POSTGRESQL
from worker.store.transactions import reading

# Only `off` is raised, to PostgreSQL's own default. `local` and `remote_write` are on this server's disk as well, and
# a failover, which may lose them, is noticed by `worker.store.restores`; `remote_apply` is more already. `true`: for
# this transaction, so that it passes a pooler.
_RAISE = """set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
    ELSE current_setting('synchronous_commit') END, true)"""

DURABLY = f"(SELECT {_RAISE}) IS NOT NULL"
"""A condition that is always true, for the WHERE of a write on PostgreSQL: its commit waits for the disk."""

DURABLE = text(f"SELECT {_RAISE}")
"""The same for the rest of a transaction of several statements."""

# Every role may read these settings, and sees that there are walsenders, of what kind by their slots; `sync_state` is
# for pg_read_all_stats alone (https://www.postgresql.org/docs/current/monitoring-stats.html).
_ASKED = text("""
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('synchronous_standby_names') AS names,
       EXISTS (SELECT 1 FROM pg_stat_replication r WHERE r.application_name <> 'pg_basebackup' AND NOT EXISTS (
         SELECT 1 FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')) AS followed""")
_FAILOVER = (
    "at a failover the last commits may be missing: what was created in those moments is then looked up, or held for a"
    " person"
)


@reading
def risks(connection: Connection) -> list[str]:
    """What the server's settings let a crash or a failover take back, a line each; nothing on SQLite."""
    if connection.dialect.name != POSTGRESQL:
        return []
    server = connection.execute(_ASKED).one()
    found = []
    if server.fsync == "off":
        found.append(
            "fsync is off: when the machine crashes, what was recorded is lost, and a return may be created twice:"
            " switch it on"
        )
    if server.full_page_writes == "off":
        found.append(
            "full_page_writes is off: a crash of the machine may leave pages half written: switch it on, unless the"
            " file system itself never does that"
        )
    if server.followed and not server.names:
        found.append(f"its standbys follow asynchronously: {_FAILOVER}; synchronous_standby_names prevents it")
    elif server.followed and server.synchronous_commit == "local":
        found.append(f"synchronous_commit is local, so no standby is waited for: {_FAILOVER}; on prevents it")
    return found
