"""The promises of the log lines."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from worker.telemetry.logs import LogFormat, Redactor, configure_logs

Written = Callable[[], str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class BrokenPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    chatty = {name: logging.getLogger(name).level for name in ("apscheduler", "alembic", "httpx")}
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    for name, before in chatty.items():
        logging.getLogger(name).setLevel(before)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    """What was written to stderr since the last look."""
    return lambda: capsys.readouterr().err


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_is_json_with_utc_time_level_event_and_what_is_bound(written: Written) -> None:
    configure_logs("auto", "info", Redactor())
    structlog.contextvars.bind_contextvars(worker="w1")
    structlog.get_logger().bind(reference="R-1").info("created", attempts=2)

    [line] = lines(written())
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line.pop("timestamp"))).total_seconds()) < 60
    assert line == {"level": "info", "event": "created", "reference": "R-1", "worker": "w1", "attempts": 2}


@pytest.mark.parametrize(
    ("format", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("console", io.StringIO, False),
    ],
)
def test_auto_is_json_unless_somebody_reads_along(
    monkeypatch: pytest.MonkeyPatch, format: LogFormat, stream: type[io.StringIO], is_json: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    configure_logs(format, "info", Redactor())
    structlog.get_logger().info("created", reference="R-1")
    text = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert text.startswith("{") == is_json
    assert "created" in text
    assert "R-1" in text
    assert ("\x1b[" in text) == (stream is Terminal and not is_json)


def test_below_the_level_nothing_is_said(written: Written) -> None:
    configure_logs("json", "warning", Redactor())
    structlog.get_logger().info("unchanged")
    logging.getLogger("aiohttp.server").info("unchanged")
    structlog.get_logger().warning("held")
    assert [line["event"] for line in lines(written())] == ["held"]


def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'loud' is none of debug, info"):
        configure_logs("json", "loud", Redactor())


def test_the_standard_librarys_loggers_speak_the_same_way(written: Written) -> None:
    configure_logs("json", "info", Redactor())
    structlog.contextvars.bind_contextvars(worker="w1")
    logging.getLogger("aiohttp.server").error("refused %s", "R-1")
    [line] = lines(written())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "error", "event": "refused R-1", "logger": "aiohttp.server", "worker": "w1"}


@pytest.mark.parametrize("name", ["httpx", "apscheduler.executors.default", "alembic.runtime.migration"])
def test_chatty_libraries_are_heard_only_when_something_is_wrong(written: Written, name: str) -> None:
    configure_logs("json", "debug", Redactor())
    logging.getLogger(name).info("tick")
    logging.getLogger(name).warning("late")
    assert [line["event"] for line in lines(written())] == ["late"]


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("through", ["structlog", "logging"])
def test_an_exception_is_told_without_its_local_variables(written: Written, format: LogFormat, through: str) -> None:
    configure_logs(format, "info", Redactor())
    log = structlog.get_logger() if through == "structlog" else logging.getLogger("asyncio")
    try:
        in_a_local_variable = "p" + "assword"
        raise KeyError("parcel", len(in_a_local_variable))
    except KeyError:
        log.exception("step failed")
    text = written()
    assert "Traceback" in text
    assert "KeyError: ('parcel', 8)" in text
    assert "password" not in text


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize(
    "secret", ["k3y-0123456789", 'quo"te\\back', "new\nline", "p@ss/wörd ü", "café-key", "del\x7f\u202eete"]
)
def test_a_known_secret_is_masked_wherever_it_turns_up(written: Written, format: LogFormat, secret: str) -> None:
    redactor = Redactor()
    configure_logs(format, "info", redactor)
    redactor.add(secret)  # also one that is read later
    try:
        raise RuntimeError(f"refused: {secret}")
    except RuntimeError:
        structlog.get_logger().exception(f"with {secret}", headers={"Api-Key": secret}, note=secret)
    logging.getLogger("aiohttp").error("with %s", secret)

    text = written()
    assert text.count("********") >= 5
    for spelling in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        assert spelling not in text


def test_a_secret_is_masked_as_a_url_spells_it() -> None:
    redactor = Redactor()
    redactor.add("p@ss/word x")
    for spelling in ("p%40ss%2Fword%20x", "p%40ss/word%20x", "p%40ss%2Fword+x"):
        assert redactor.redact(f"postgresql://u:{spelling}@db") == "postgresql://u:********@db"


def test_a_replaced_secret_stays_masked_and_a_longer_one_is_masked_whole() -> None:
    redactor = Redactor()
    for secret in ("first-key", "second-key", "second-key-longer", "", "abc"):
        redactor.add(secret)
    assert redactor.redact("first-key second-key second-key-longer abc") == "******** ******** ******** abc"


def test_odd_values_never_break_a_line(written: Written) -> None:
    configure_logs("json", "info", Redactor())
    log = structlog.get_logger()
    log.info("odd", at=datetime(2026, 1, 2, tzinfo=UTC), path=Path("/x"), price=Decimal("1.5"), what={1, 2})
    log.info("unprintable", thing=Unprintable(), deep={"a": [Unprintable()]})
    circular: dict[str, Any] = {}
    circular["self"] = circular
    log.info("circular", thing=circular, number=float("inf"))
    log.info("key", thing={(1, 2): "x"})
    log.info("bytes", thing=b"\xff", text="\udcff")

    odd, unprintable, *others = lines(written())
    assert odd["at"] == "2026-01-02 00:00:00+00:00"
    assert odd["price"] == "1.5"
    assert unprintable["thing"] == "<Unprintable that cannot be printed>"
    assert [line["event"] for line in others] == ["circular", "key", "bytes"]


def test_odd_values_never_break_a_line_for_a_reader_either(written: Written) -> None:
    configure_logs("console", "info", Redactor())
    structlog.get_logger().info("unprintable", thing=Unprintable())
    assert "that cannot be printed" in written()


def test_a_record_whose_arguments_do_not_fit_is_still_told(written: Written) -> None:
    logging.getLogger().handlers.clear()  # pytest's own would raise
    configure_logs("json", "info", Redactor())
    logging.getLogger("aiohttp").error("only %d", "words")
    assert lines(written())[0]["event"] == "only %d ('words',)"


@pytest.mark.parametrize("gone", [BrokenPipe(), None])
def test_a_log_that_nobody_takes_does_not_stop_the_work(
    monkeypatch: pytest.MonkeyPatch, gone: io.StringIO | None
) -> None:
    configure_logs("json", "info", Redactor())
    monkeypatch.setattr(sys, "stderr", gone)
    structlog.get_logger().info("said into the void")
    logging.getLogger("aiohttp").error("said into the void")


def test_configuring_again_replaces_and_does_not_double(written: Written) -> None:
    log = structlog.get_logger()
    configure_logs("console", "info", Redactor())
    log.info("first")
    assert "first" in written()
    configure_logs("json", "debug", Redactor())
    log.debug("second")
    logging.getLogger("aiohttp").error("third")
    assert [line["event"] for line in lines(written())] == ["second", "third"]


HOSTILE = "a\x1b[2Jb\x9b31mc\u202ed\ne\x7f"


def test_what_a_carrier_wrote_moves_no_reader_s_terminal_and_makes_no_second_line(written: Written) -> None:
    configure_logs("console", "info", Redactor())
    structlog.get_logger().info("answered", carrier_status=HOSTILE, codes=[HOSTILE], reference=HOSTILE)
    logging.getLogger("aiohttp").error("refused %s", HOSTILE)
    text = written()
    assert all(char.isprintable() or char == "\n" for char in text)
    assert text.count("\n") == 2
    assert text.count("carrier_status='a [2Jb 31mc d e '") == 1


def test_an_exception_s_text_keeps_its_lines_for_a_reader_and_nothing_else(written: Written) -> None:
    configure_logs("console", "info", Redactor())
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("step failed", stack_info=True)
    text = written()
    assert "\n    raise ValueError(HOSTILE)\nValueError: a [2Jb 31mc d\ne \n" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_line_of_json_says_the_same_and_moves_no_terminal_either(written: Written) -> None:
    configure_logs("json", "info", Redactor())
    structlog.get_logger().info("answered", carrier_status=HOSTILE, customer="Jörg \U0001f600\U000e0001")
    text = written()
    assert text.rstrip("\n").isprintable()
    assert "Jörg \U0001f600" in text
    [line] = lines(text)
    assert (line["carrier_status"], line["customer"]) == (HOSTILE, "Jörg \U0001f600\U000e0001")
