"""What the worker says: one log line per event, as JSON or for a reader, and never with a secret in it."""

import io
import json
import logging
import os
import sys
from typing import Any, Literal, TextIO
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import EventDict, ExcInfo, Processor

from worker.domain.masking import IN_LOGS, MASK
from worker.telemetry.terminal import escaped, shown, shown_lines

LogFormat = Literal["auto", "json", "console"]

_LEVELS = {name.lower(): getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}

# These speak at INFO of every tick, request, statement or migration step.
_CHATTY = ("aiohttp.access", "alembic", "apscheduler", "asyncio", "httpcore", "httpx", "sqlalchemy")


class Redactor:
    """The secrets that must not be seen, and the last line of defence that masks them in a finished text.

    Each is added where it is read. One that has been replaced stays known, since an old key may still turn up in an
    error that is under way.
    """

    def __init__(self) -> None:
        self._spellings: tuple[str, ...] = ()

    def add(self, *secrets: str) -> None:
        """Mask `secrets` from now on, also as JSON or a URL would spell them.

        Fewer than four characters are left alone: masking them would garble every line and hide nothing.
        """
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= IN_LOGS
            for spelling in (
                secret,
                json.dumps(secret)[1:-1],
                json.dumps(secret, ensure_ascii=False)[1:-1],
                repr(secret)[1:-1],
                quote(secret),
                quote(secret, safe=""),
                quote_plus(secret),
            )
        }
        # The longest first: a secret that contains another one is masked as a whole. Replacing the tuple in one
        # assignment lets other threads log meanwhile.
        self._spellings = tuple(sorted(spellings.union(self._spellings), key=lambda each: (-len(each), each)))

    def redact(self, text: str) -> str:
        """Return `text` with every known secret replaced by `********`."""
        for spelling in self._spellings:
            if spelling in text:
                text = text.replace(spelling, MASK)
        return text


def configure_logs(format: LogFormat, level: str, redactor: Redactor) -> None:
    """Send structlog's events and the standard library's log records to stderr, one line each.

    `format` is `json`, `console` (for a reader) or `auto`: console on a terminal, otherwise JSON. `level` is `debug`,
    `info`, `warning`, `error` or `critical`; ValueError for any other. Calling it again replaces what was set.

    A filtered event costs 0.2 us on a logger that was bound once, as in `log = get_logger().bind()`, and 3 us on the
    bare result of `get_logger()`, which looks the configuration up each time.
    """
    threshold = _LEVELS.get(level.lower())
    if threshold is None:
        raise ValueError(f"log level {level!r} is none of {', '.join(_LEVELS)}")
    terminal = sys.stderr.isatty()
    console = format == "console" or (format == "auto" and terminal)
    pipeline = _pipeline(_for_a_reader(redactor, colors=terminal) if console else _as_json(redactor), redactor)
    structlog.configure(
        processors=pipeline,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Stderr,
        # Not cached: module-level loggers of a process that configures twice (the tests) would keep the first one's
        # level and secrets.
        cache_logger_on_first_use=False,
    )
    _adopt_standard_library(pipeline, threshold)


def _pipeline(render: Processor, redactor: Redactor) -> list[Processor]:
    """Build the steps from an event's values to its line, the same for both kinds of loggers."""

    def guarded(logger: Any, method: str, event: EventDict) -> str:
        try:
            line = str(render(logger, method, dict(event)))
        except Exception:  # a log line may be poor, but it never breaks the work that it tells of
            line = json.dumps({_plain(key): _plain(value) for key, value in event.items()})
        return redactor.redact(line)

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        guarded,
    ]


def _as_json(redactor: Redactor) -> Processor:
    def as_json(logger: Any, method: str, event: EventDict) -> str:
        event = structlog.processors.format_exc_info(logger, method, event)  # text only: local variables hold secrets
        first = {key: event.pop(key, None) for key in ("timestamp", "level", "event")}
        line = json.dumps({**first, **event}, default=_plain, ensure_ascii=False, allow_nan=False)
        return escaped(redactor.redact(line))  # in this order, or a secret that has such a character is not found

    return as_json


def _for_a_reader(redactor: Redactor, *, colors: bool) -> Processor:
    def traceback(out: TextIO, exc_info: ExcInfo) -> None:
        plain = io.StringIO()
        structlog.dev.plain_traceback(plain, exc_info)  # the pretty one prints local variables, secrets included
        out.write(shown_lines(redactor.redact(plain.getvalue())))

    render = structlog.dev.ConsoleRenderer(
        colors=colors and not os.environ.get("NO_COLOR"), exception_formatter=traceback
    )

    def for_a_reader(logger: Any, method: str, event: EventDict) -> str:
        # Before it is rendered, since colors are escape sequences, too. What is no text is rendered by its repr().
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = (shown_lines if key == "stack" else shown)(redactor.redact(value))
        return render(logger, method, event)

    return for_a_reader


def _plain(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} that cannot be printed>"


class _Stderr:
    """Where finished lines go: what `sys.stderr` is at that moment."""

    def __init__(self, *_: object) -> None: ...  # what `get_logger` was given

    def msg(self, line: str) -> None:
        """Write one line. One that cannot be written is lost, which is no reason to stop working."""
        try:
            sys.stderr.write(line + "\n")
        except UnicodeEncodeError:  # a character that this stderr does not know
            self.msg(line.encode("ascii", "backslashreplace").decode("ascii"))
        except (OSError, ValueError, AttributeError):  # a broken pipe, a closed file, no stderr at all
            return

    debug = info = warn = warning = error = critical = fatal = err = exception = failure = log = msg


class _ThroughPipeline(logging.Handler):
    """Takes the standard library's records through the pipeline that structlog's events take."""

    def __init__(self, pipeline: list[Processor]) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._out = _Stderr()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line."""
        event: Any = {"event": _message(record), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        if record.stack_info:
            event["stack"] = record.stack_info
        for process in self._pipeline:
            event = process(None, record.levelname.lower(), event)
        self._out.msg(event)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # its arguments do not fit its text, or cannot be printed
        return f"{record.msg} {_plain(record.args)}"


def _adopt_standard_library(pipeline: list[Processor], threshold: int) -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ThroughPipeline):
            root.removeHandler(handler)
    root.addHandler(_ThroughPipeline(pipeline))
    root.setLevel(threshold)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
