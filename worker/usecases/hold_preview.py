"""What a hold of an account or a webhook would stop, and a release start; and a release of what was shown alone."""

from dataclasses import dataclass, replace
from datetime import timedelta

from worker.domain.previewing import mark_of
from worker.settings import Settings
from worker.store.database import Database
from worker.store.holds import NOTHING, AccountState, count_put_off, explain, read_accounts
from worker.store.upkeep.webhooks import SubscriberState
from worker.usecases import webhooks
from worker.usecases.accounts import Standing, read_standings, release
from worker.usecases.not_done import NoSuchAccount


@dataclass(frozen=True, slots=True)
class HoldPreview:
    """How an account stands, and what a hold would stop or a release start; `sight` is given back by who releases."""

    standing: Standing
    put_off: int  # returns that a release makes due at once, beside those that are due
    sight: str

    @property
    def is_held(self) -> bool:
        """Whether there is anything that a release ends."""
        return self.standing.waits_for != NOTHING


async def preview_hold(settings: Settings, database: Database, name: str) -> HoldPreview:
    """What a hold, or a release, of an account would come to; nothing is changed. Raises `NoSuchAccount`."""
    state = (await read_accounts(database)).get(name)
    if state is None and name not in settings.accounts:
        raise NoSuchAccount(name, settings.accounts)
    (standing,) = [each for each in await read_standings(settings, database) if each.account == name]
    # Whether or not it is configured here, this is what a release ends.
    standing = replace(standing, waits_for=explain(state) if state is not None else NOTHING)
    return HoldPreview(standing, await count_put_off(database, name), _sight_of(state))


async def release_previewed(
    settings: Settings, database: Database, name: str, sight: str
) -> AccountState | HoldPreview:
    """Release an account where what holds it is what was shown, by its mark; else how it stands now."""
    if _sight_of((await read_accounts(database)).get(name)) != sight:
        return await preview_hold(settings, database, name)
    return await release(settings, database, name)


def _sight_of(state: AccountState | None) -> str:
    """A mark of what holds an account; a circuit, which comes and goes by itself, is not in it."""
    holds = (state.hold, state.create_hold_message, state.sending_stopped) if state is not None else (None, None, None)
    return mark_of(holds)


@dataclass(frozen=True, slots=True)
class WebhookPreview:
    """How a webhook stands, and for how long its events may wait; `sight` is given back by who releases."""

    standing: webhooks.Standing
    keep: timedelta
    sight: str

    @property
    def is_held(self) -> bool:
        """Whether there is anything that a release ends: a hold, a circuit, or the wait after a failed try."""
        each = self.standing
        return each.hold_code is not None or each.failures > 0 or each.last_error is not None


async def preview_webhook(settings: Settings, database: Database, name: str) -> WebhookPreview:
    """What a hold, or a release, of a webhook would come to; nothing is changed. Raises `NotDone`."""
    subscriber = await webhooks.require_webhook(settings, database, name)
    return WebhookPreview(webhooks.standing_of(subscriber), subscriber.keep, _sight_of_webhook(subscriber))


async def release_webhook_previewed(
    settings: Settings, database: Database, name: str, sight: str
) -> SubscriberState | WebhookPreview:
    """Release a webhook where what holds it is what was shown, by its mark; else how it stands now."""
    if _sight_of_webhook(await webhooks.require_webhook(settings, database, name)) != sight:
        return await preview_webhook(settings, database, name)
    return await webhooks.release(settings, database, name)


def _sight_of_webhook(subscriber: SubscriberState) -> str:
    return mark_of(subscriber.hold)
