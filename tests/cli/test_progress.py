"""How far a command is: on a terminal, after a second, and nowhere else."""

import io
import os
import pty
import select
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from worker.cli.progress import progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, int]]:
    """A terminal to be written to, and what reads what it shows."""
    monkeypatch.setenv("TERM", "xterm")
    shown, ours = pty.openpty()
    with open(ours, "w") as stream:
        yield stream, shown
    os.close(shown)


def _read(shown: int, until: bytes) -> bytes:
    """What the terminal was sent, up to and with these bytes."""
    seen, deadline = b"", time.monotonic() + 20
    while until not in seen:
        assert select.select([shown], [], [], deadline - time.monotonic())[0], seen
        seen += os.read(shown, 4096)
    return seen


def test_a_terminal_shows_how_far_it_is_and_is_left_as_it_was(
    terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, shown = terminal
    monkeypatch.setattr("sys.stderr", stream)
    with progress("copying rows", after=0) as tell:
        tell(3, 10)
        _read(shown, b"copying rows: 3 of 10")
    _read(shown, b"\x1b[?25h\r\x1b[1A\x1b[2K")  # the cursor is back, and the line is erased


def test_what_takes_less_than_a_second_shows_nothing(
    terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, shown = terminal
    monkeypatch.setattr("sys.stderr", stream)
    with progress("copying rows") as tell:
        tell(3, 10)
    assert not select.select([shown], [], [], 0)[0]


@pytest.mark.parametrize("stream", [io.StringIO(), None], ids=["piped", "closed"])
def test_into_a_pipe_nothing_is_shown_whatever_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stderr", stream)
    with progress("copying rows", after=0) as tell:
        tell(3, 10)
    assert stream is None or stream.getvalue() == ""
