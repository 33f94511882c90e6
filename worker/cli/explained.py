"""What a command says of an error, and the exit code that it ends with."""

from collections.abc import Iterator
from contextlib import contextmanager

from worker.cli.output import Exit, fail, shown
from worker.labels import LabelStoreError, LabelStoreUnusable
from worker.settings import ConfigurationError
from worker.store.database_clock import ClockDiffers
from worker.store.failures import DatabaseRefused, DatabaseReplaced, DatabaseUnavailable, refusal_of
from worker.store.migrating import SchemaLocked
from worker.store.news import KindChanged
from worker.store.restores import DatabaseMoved
from worker.store.schema import SchemaMismatch
from worker.store.sqlite_file import AlreadyRunning
from worker.telemetry.http import ListenError
from worker.telemetry.terminal import shown_lines
from worker.usecases.find import ReturnAmbiguous
from worker.usecases.not_done import NotConfigured, NotDone, WrongRequest

_START_AGAIN = "start it again: what may be missing in the new file is then looked up, or needs attention"
_TOLD: tuple[tuple[tuple[type[Exception], ...], Exit, str], ...] = (
    ((ReturnAmbiguous,), Exit.USAGE, "error: {}: say which with --account"),
    ((WrongRequest,), Exit.USAGE, "error: {}"),
    ((NotConfigured, SchemaMismatch, DatabaseMoved, KindChanged), Exit.BAD_CONFIGURATION, "error: {}"),
    ((ConfigurationError,), Exit.BAD_CONFIGURATION, "{}"),
    ((LabelStoreUnusable,), Exit.BAD_CONFIGURATION, "error: labels.store: {}"),
    ((DatabaseReplaced,), Exit.FAILED, f"error: {{}}; {_START_AGAIN}"),
    ((DatabaseRefused,), Exit.BAD_CONFIGURATION, "error: the database refuses to be used: {}"),
    ((SchemaLocked,), Exit.DATABASE_UNAVAILABLE, "error: {}"),
    ((DatabaseUnavailable,), Exit.DATABASE_UNAVAILABLE, "error: the database cannot be reached: {}"),
    ((NotDone, AlreadyRunning, ClockDiffers, ListenError, LabelStoreError), Exit.FAILED, "error: {}"),
)
"""What is said of an error, by the first line that it fits (some are kinds of what follows), and the exit code."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what can go wrong with the surroundings, and what is refused, into a clear line and the right exit code."""
    try:
        yield
    except Exception as error:
        for kinds, code, told in _TOLD:
            if isinstance(error, kinds):
                fail((shown if isinstance(error, NotDone) else shown_lines)(told.format(error)), code)
        why = refusal_of(error)
        if why is None:
            raise
        fail(shown(f"error: the database refuses it by a rule that was added to it: {why}"))
