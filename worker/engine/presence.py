"""Says in the database which accounts and subscribers this worker serves, as long as it lives."""

from collections.abc import Collection

import structlog

from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.presence import ACCOUNT, NEWS, RENEWED_EVERY, begin_presence, end_presence, renew_presence

_HINT = (
    "nothing is kept waiting by it; after a while return_overview says worker_absent, or account_not_configured, of"
    " returns that this worker alone serves"
)

log = structlog.get_logger()


class Presence:
    """What one worker serves, said with a time that runs out."""

    renewed_every = RENEWED_EVERY.total_seconds()
    """Seconds between two calls of `renew`."""

    def __init__(
        self, database: Database, worker: str, accounts: Collection[str], subscribers: Collection[str] = ()
    ) -> None:
        """`worker` tells this process from all others; `accounts` and `subscribers` are the configured ones."""
        self._database, self._worker = database, worker
        self._served = {ACCOUNT: accounts, NEWS: subscribers}
        self._is_said = self._fails = False

    async def begin(self) -> None:
        """Say it for the first time; raises `DatabaseUnavailable`."""
        await begin_presence(self._database, self._worker, self._served)
        self._is_said = True

    async def renew(self) -> None:
        """Say that it lives on; where that cannot be done, the log says so once, and the next call tries again."""
        try:
            if not await renew_presence(self._database, self._worker):
                await begin_presence(self._database, self._worker, self._served)
        except DatabaseUnavailable as error:
            (log.debug if self._fails else log.warning)("presence_not_renewed", error=str(error), hint=_HINT)
            self._fails = True
        else:
            self._fails = False

    async def end(self) -> None:
        """Take it back, if it was said; what cannot be taken back runs out, and a stop does not wait for it."""
        if not self._is_said or self._database.outage.since is not None:
            return
        try:
            await end_presence(self._database, self._worker)
        except DatabaseUnavailable as error:
            log.debug("presence_not_ended", error=str(error))
