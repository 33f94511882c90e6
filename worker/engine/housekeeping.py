"""Tidies up now and then: what crashes left in the label store, and labels that were refused long ago."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from math import inf

import structlog

from worker.engine.running import Tools
from worker.labels import LabelStoreError

_TIDY_REFUSED_EVERY = 3600.0  # seconds; a bucket is listed for it
_ABANDONED = timedelta(hours=1)  # longer than any label takes to be written

log = structlog.get_logger()


class Housekeeping:
    """What one worker tidies, and repeats so that an operator does not miss it."""

    def __init__(self, tools: Tools, key_problems: Callable[[], Mapping[str, str]]) -> None:
        """`key_problems` says of which account the key cannot be read any more, and why."""
        self._labels, self._metrics, self._clock = tools.labels, tools.metrics, tools.clock
        self._key_problems = key_problems
        self._refused_at = -inf

    async def tidy(self) -> None:
        """Do what is due."""
        for account, problem in self._key_problems().items():
            log.warning("key_unreadable", account=account, problem=problem)
        try:
            removed = await self._labels.tidy(_ABANDONED)
        except LabelStoreError as error:
            self._metrics.storage_errors.labels("labels").inc()
            log.warning("label_store_failed", error=str(error))
            return
        if removed:
            log.info("temporary_files_removed", count=removed)
        if self._clock() < self._refused_at + _TIDY_REFUSED_EVERY:
            return
        self._refused_at = self._clock()
        try:
            removed = await self._labels.tidy_aside()
        except LabelStoreError as error:  # no label is harmed by it, so it is none of the errors that wake people
            log.warning("refused_labels_not_tidied", error=str(error))
            return
        if removed:
            log.info("refused_labels_removed", count=removed)
