"""Today at one glance: what there is to do and what keeps it waiting, what needs a person, what has happened so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.lifecycle import State
from worker.domain.tracking import TrackingStatus
from worker.engine.account_gauges import running_behind
from worker.from_settings import pace_of
from worker.settings import Settings
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.holds import AccountState, read_accounts
from worker.store.presence import Living, read_living
from worker.store.queries import Backlog, read_backlog
from worker.store.upkeep.today import Changes, Troubled, read_changes, read_troubled
from worker.usecases.accounts import Standing, by_account, standings_of
from worker.usecases.ways import Way, read_ways
from worker.usecases.webhooks import Standing as SubscriberStanding
from worker.usecases.webhooks import read_standings as read_subscribers


@dataclass(frozen=True, slots=True)
class AccountToday:
    """How one account stands, and what of it is late.

    `behind`: how far it runs behind, by its own settings: the age of what is due longest, or what all that is due takes
    at its pace. `label_sought_since`: since when the label that is missing longest is sought.
    """

    standing: Standing
    needs_attention: int
    labels_missing: int
    oldest_due_at: datetime | None
    label_sought_since: datetime | None
    behind: timedelta


@dataclass(frozen=True, slots=True)
class Attention:
    """Returns that need attention for one reason, and what can be done about one of them now."""

    troubled: Troubled
    ways: Sequence[Way]


@dataclass(frozen=True, slots=True)
class Today:
    """All of it, by the database's time; a day begins at midnight UTC."""

    now: datetime
    midnight: datetime
    accounts: Sequence[AccountToday]
    attention: Sequence[Attention]
    changes: Changes
    subscribers: Sequence[SubscriberStanding]
    workers: Sequence[Living]

    @property
    def figures(self) -> Mapping[str, int]:
        """What has happened since midnight, by name; `created`: came from `pending` to the carrier, or was adopted."""
        states, tracking = self.changes.states, self.changes.tracking

        def came_to(state: State) -> int:
            return sum(count for (_, after), count in states.items() if after == state)

        created = states.get((State.PENDING, State.TRACKING), 0)
        return {
            "created": created,
            "labels_stored": self.changes.labels,
            "in_transit": tracking.get(TrackingStatus.IN_TRANSIT, 0),
            "delivered": tracking.get(TrackingStatus.DELIVERED, 0),
            "completed": came_to(State.COMPLETED),
            "rejected": came_to(State.REJECTED),
            "came_to_need_attention": came_to(State.NEEDS_ATTENTION),
            "cancelled": came_to(State.CANCELLED),
            "put_back": came_to(State.PENDING),
            "followed_again": came_to(State.TRACKING) - created,
        }


async def read_today(settings: Settings, database: Database) -> Today:
    """Today so far; nothing that is over is counted, but for what came to its end today."""
    now, states, backlog = await database_now(database), await read_accounts(database), await read_backlog(database)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    troubled = await read_troubled(database)
    ways: Mapping[int, Sequence[Way]] = {}
    if troubled:
        ways = await read_ways(settings, database, [each.example for each in troubled])
    rows = by_account(backlog)
    return Today(
        now=now,
        midnight=midnight,
        accounts=[
            _account(settings, now, standing, states.get(standing.account), rows.get(standing.account, ()))
            for standing in standings_of(settings, states, backlog)
        ],
        attention=[Attention(each, ways.get(each.example, ())) for each in troubled],
        changes=await read_changes(database, midnight),
        subscribers=await read_subscribers(settings, database),
        workers=await read_living(database),
    )


def _account(
    settings: Settings, now: datetime, standing: Standing, state: AccountState | None, rows: Sequence[Backlog]
) -> AccountToday:
    name = standing.account
    pace = pace_of(settings, name) if name in settings.accounts else None
    return AccountToday(
        standing=standing,
        needs_attention=sum(row.count for row in rows if row.state == State.NEEDS_ATTENTION),
        labels_missing=sum(row.labels_missing for row in rows),
        oldest_due_at=min((row.oldest_due_at for row in rows if row.oldest_due_at is not None), default=None),
        label_sought_since=min(
            (row.label_sought_since for row in rows if row.label_sought_since is not None), default=None
        ),
        behind=running_behind(pace, rows, now, creates=state is None or state.creates)[0],
    )
