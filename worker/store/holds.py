"""What keeps an account waiting, for all workers through its one row: holds by the carrier or a person, circuits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.engine import RowMapping

from worker.domain.circuits import Circuit, Health
from worker.domain.clocks import lasts
from worker.domain.decision import Hold
from worker.domain.error_codes import ErrorCode
from worker.domain.ramp import Ramp
from worker.store.columns import FOREVER, bound, read_moment
from worker.store.database import Database
from worker.store.dialect import CLOCK, NOW, POSTGRESQL, SQLITE, later
from worker.store.leases import LATEST_END
from worker.store.transactions import in_statement, in_transaction, reading

HELD_BY_PERSON = "held_by_person"
"""The `hold_code` of a hold that a person made; the others are error codes."""

NOTHING = "ok"
"""How it is said that nothing keeps an account waiting."""

HEALTH = (
    "a.failures, a.open_until, a.create_failures, a.create_open_until,"
    " a.create_window, a.create_window_since, a.created_lately_at"
)
"""The columns of `carrier_account AS a` that `read_health` reads."""

REGISTER = text("INSERT INTO carrier_account (name) VALUES (:name) ON CONFLICT (name) DO NOTHING")
"""Makes sure that the account `:name` has its row."""

_MOST = 500  # characters of a message

BRIEFLY = "WITH briefly AS MATERIALIZED (SELECT set_config('lock_timeout', '250ms', true))"
"""Begins a statement of PostgreSQL that joins `briefly`, and does not wait long for a lock.

One on one account's row, such as an operator's transaction left open, must not stop the other accounts: it is not
waited for longer than workers need among themselves. MATERIALIZED: it is set before the row is reached.
"""

_NO_HOLD = "held_until = NULL, hold_code = NULL, hold_message = NULL"
_FROM_ONE_ON = {
    dialect: f"create_window = 1, create_window_since = {now}, created_lately_at = NULL" for dialect, now in NOW.items()
}
"""After a pause, one creation at a time: see `worker.domain.ramp`."""

_PUT_OFF = {
    dialect: f"""account = :name AND next_step = 'create' AND due_at > {now} AND lease_owner IS NULL
           AND error_code = '{ErrorCode.CARRIER_UNREACHABLE}' AND create_started_at IS NULL"""
    for dialect, now in NOW.items()
}


@dataclass(frozen=True, slots=True)
class AccountHold:
    """An account that waits, and why; `until` is `FOREVER` when only a person, or another key, ends it."""

    until: datetime
    code: str | None
    message: str | None

    @property
    def is_endless(self) -> bool:
        """Whether time alone does not end it."""
        return self.until >= FOREVER

    def __str__(self) -> str:
        return f"held until {self.ends} ({self.code}: {self.message})"

    @property
    def ends(self) -> str:
        """When, or by what, it ends."""
        if not self.is_endless:
            return f"{self.until:%Y-%m-%d %H:%M:%S} UTC"
        return "it is released" if self.code == HELD_BY_PERSON else "its key changes, or it is released"


@dataclass(frozen=True, slots=True)
class AccountState:
    """What keeps one account, or its creations, waiting; `now` is the database's time.

    `sending_stopped`: the address that creations are not sent to any more, and why.
    """

    name: str
    hold: AccountHold | None
    create_hold_message: str | None
    health: Health
    now: datetime
    sending_stopped: tuple[str, str] | None = None

    @property
    def creates(self) -> bool:
        """Whether nothing keeps its creations alone from being made."""
        return self.create_hold_message is None and self.health.creations.is_closed

    def is_stopped_at(self, address: str) -> bool:
        """Whether no creation is sent to this address."""
        return self.sending_stopped is not None and self.sending_stopped[0] == address


def describe(state: AccountState) -> str:
    """What keeps the account waiting, in a few words without anybody's text; `NOTHING` when nothing does."""
    return "; ".join(_waits(state, said=False)) or NOTHING


def explain(state: AccountState) -> str:
    """The same, with what the carrier or a person said, which may be anything."""
    return "; ".join(_waits(state, said=True)) or NOTHING


def _waits(state: AccountState, *, said: bool) -> Iterator[str]:
    hold, creations = state.hold, state.create_hold_message
    if hold is not None:
        yield f"held until {hold.ends} ({hold.code}{f': {hold.message}' if said else ''})"
    if creations is not None:
        yield f"its creations are held by a person{f' ({creations})' if said else ''}"
    if state.sending_stopped is not None:
        address, why = state.sending_stopped
        yield f"no creation is sent to {address} until it is released" + (f" ({why})" if said else "")
    for what, circuit in (("", state.health.account), ("its creations are ", state.health.creations)):
        times = f"after {circuit.failures} failures in a row"
        if circuit.is_open(state.now):
            yield f"{what}left alone until {circuit.open_until:%Y-%m-%d %H:%M:%S} UTC {times}"
        elif not circuit.is_closed:
            yield f"{what}tried one at a time {times}"


def hold_lasts(until: datetime | None, code: str | None, now: datetime) -> bool:
    """Whether an account is held: by a person until any moment, else for ever, or as long as a carrier may ask for."""
    if until is not None and (until >= FOREVER or code == HELD_BY_PERSON):
        return until > now
    return lasts(until, now)


def lock_account(connection: Connection, account: str, columns: str) -> tuple[RowMapping, datetime]:
    """Lock and read the account's row `a`, waiting but briefly, and the time then; a retired one is made once more."""
    select = f"SELECT {columns} FROM carrier_account a"
    if connection.dialect.name == SQLITE:  # its transaction is the only one that writes
        locking = text(f"{select} WHERE name = :name")
    else:
        locking = text(f"{BRIEFLY} {select} CROSS JOIN briefly WHERE name = :name FOR UPDATE OF a")
    row = connection.execute(locking, {"name": account}).mappings().one_or_none()
    if row is None:
        connection.execute(REGISTER, {"name": account})
        row = connection.execute(locking, {"name": account}).mappings().one()
    clock = text(f"SELECT {CLOCK[connection.dialect.name]}")
    return row, read_moment(connection.execute(clock).scalar_one())


@reading
def read_accounts(connection: Connection) -> dict[str, AccountState]:
    """Every account that a worker has registered or a person has held, by name."""
    now = NOW[connection.dialect.name]
    statement = text(f"""SELECT name, held_until, hold_code, hold_message, create_hold_message, {HEALTH},
        sending_stopped_address, sending_stopped_message, {now} AS now
      FROM carrier_account a ORDER BY name""")
    return {row["name"]: _state(row) for row in connection.execute(statement).mappings()}


async def read_holds(database: Database) -> dict[str, AccountHold]:
    """The accounts that wait now, by name."""
    return {name: state.hold for name, state in (await read_accounts(database)).items() if state.hold is not None}


def read_health(row: RowMapping) -> Health:
    """An account's circuits and ramp; the circuits of one without a row are closed."""
    return Health(
        Circuit(row["failures"] or 0, read_moment(row["open_until"])),
        Circuit(row["create_failures"] or 0, read_moment(row["create_open_until"])),
        Ramp(row["create_window"] or 1, read_moment(row["create_window_since"]), read_moment(row["created_lately_at"])),
    )


@in_statement
def hold_account(connection: Connection, account: str, hold: Hold, refused_key: str | None) -> None:
    """Let the account wait; a hold that already lasts longer is kept.

    `refused_key` is a fingerprint of the key that was refused: another key ends such a hold. A person's hold is no such
    one, and stays what it is. Raises `RowLocked`.
    """
    now, latest = NOW[connection.dialect.name], LATEST_END[connection.dialect.name]
    person = f" AND NOT (coalesce(hold_code, '') = '{HELD_BY_PERSON}' AND held_until > {now})" if refused_key else ""
    _change(
        connection,
        account,
        "held_until = :until, hold_code = :code, hold_message = :message, refused_key = :refused_key",
        f""" AND (held_until IS NULL OR held_until < :until OR (held_until > {latest}
               AND held_until < :forever AND coalesce(hold_code, '') <> '{HELD_BY_PERSON}')){person}""",
        briefly=True,
        forever=FOREVER,
        until=hold.until or FOREVER,
        code=hold.code,
        message=hold.message[:_MOST],
        refused_key=refused_key,
    )


@in_statement
def release_account(connection: Connection, account: str, refused_key: str) -> None:
    """End the hold that this key's refusal made, and no newer one; which key it was stays known. Raises `RowLocked`."""
    ended = f"{_NO_HOLD}, {_FROM_ONE_ON[connection.dialect.name]}"
    ours = " AND refused_key = :key AND held_until IS NOT NULL"
    _change(connection, account, ended, ours, briefly=True, key=refused_key)


@in_statement
def hold_by_hand(connection: Connection, account: str, until: datetime | None, message: str) -> None:
    """A person lets the account wait, until then or until it is released; whatever held it before is forgotten."""
    held = f"held_until = :until, hold_code = '{HELD_BY_PERSON}', hold_message = :message, refused_key = NULL"
    end = until or FOREVER
    _change(connection, account, held, until=end, message=message[:_MOST])


@in_statement
def hold_creations(connection: Connection, account: str, message: str) -> None:
    """A person lets the account create nothing, until it is released; what it has there is followed on."""
    _change(connection, account, "create_hold_message = :message", message=message[:_MOST])


@in_transaction
def begin_with_one(connection: Connection, names: Sequence[str]) -> None:
    """A worker starts: the accounts' next creations begin with one in flight, whatever was known before.

    At most once a minute, so that a worker that starts again and again does not slow the others down for good.
    """
    dialect = connection.dialect.name
    since, now, minute_ago = "create_window_since", NOW[dialect], later(dialect, "-60")
    where = f" AND coalesce({since} < {minute_ago} OR {since} > {now}, true)"
    for name in sorted(names):
        _change(connection, name, _FROM_ONE_ON[dialect], where)


@in_statement
def stop_sending(connection: Connection, account: str, address: str, message: str) -> None:
    """Let no creation be sent to this address any more, by any worker; raises `RowLocked`."""
    stopped = "sending_stopped_address = :address, sending_stopped_message = :message"
    _change(connection, account, stopped, briefly=True, address=address, message=message[:_MOST])


@in_transaction
def release_by_hand(connection: Connection, account: str) -> None:
    """End every hold of the account and close its circuits; what is still wrong shows at the next call.

    What waited because nothing could be sent is due at once.
    """
    dialect = connection.dialect.name
    ended = f"""{_NO_HOLD}, refused_key = NULL, create_hold_message = NULL, failures = 0, open_until = NULL,
      create_failures = 0, create_open_until = NULL, sending_stopped_address = NULL, sending_stopped_message = NULL"""
    _change(connection, account, f"{ended}, {_FROM_ONE_ON[dialect]}")
    connection.execute(
        text(f"UPDATE return_order SET due_at = {NOW[dialect]} WHERE {_PUT_OFF[dialect]}"), {"name": account}
    )


@reading
def count_put_off(connection: Connection, account: str) -> int:
    """How many returns of the account a release makes due at once, since nothing of them could be sent."""
    statement = text(f"SELECT count(*) FROM return_order WHERE {_PUT_OFF[connection.dialect.name]}")
    return int(connection.execute(statement, {"name": account}).scalar_one())


@in_transaction
def change_health(connection: Connection, account: str, change: Callable[[Health, datetime], Health]) -> Health:
    """Let `change` decide on an account's health as it is now, at the database's time; nobody else does meanwhile.

    Returns what it came to; raises `RowLocked`.
    """
    row, now = lock_account(connection, account, HEALTH)
    before = read_health(row)
    after = change(before, now)
    if after != before:
        columns: dict[str, Any] = {
            "failures": after.account.failures,
            "open_until": after.account.open_until,
            "create_failures": after.creations.failures,
            "create_open_until": after.creations.open_until,
            "create_window": after.ramp.window,
            "create_window_since": after.ramp.since,
            "created_lately_at": after.ramp.created_at,
        }
        _change(connection, account, ", ".join(f"{name} = :{name}" for name in columns), **columns)
    return after


def _change(
    connection: Connection, account: str, changes: str, where: str = "", *, briefly: bool = False, **values: Any
) -> None:
    """Change the account's row; `briefly`: a lock that somebody has on it is not waited for long."""
    dialect = connection.dialect.name
    begin, joined = (f"{BRIEFLY} ", " FROM briefly") if briefly and dialect == POSTGRESQL else ("", "")
    statement = text(f"""{begin}UPDATE carrier_account SET {changes}, updated_at = {NOW[dialect]}{joined}
             WHERE name = :name{where}""")
    moments = {name: bound(dialect, value) for name, value in values.items() if isinstance(value, datetime)}
    connection.execute(statement, values | moments | {"name": account})


def _state(row: RowMapping) -> AccountState:
    now, until = read_moment(row["now"]), read_moment(row["held_until"])
    held = until is not None and hold_lasts(until, row["hold_code"], now)
    hold = AccountHold(until, row["hold_code"], row["hold_message"]) if until is not None and held else None
    address, message = row["sending_stopped_address"], row["sending_stopped_message"]
    stopped = (address, message or "") if address is not None else None
    return AccountState(row["name"], hold, row["create_hold_message"], read_health(row), now, stopped)
