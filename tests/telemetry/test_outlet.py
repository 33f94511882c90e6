"""The promises of the way out for log lines, on real pipes."""

import os
import time
from collections.abc import Iterator

import pytest

from worker.telemetry.outlet import Outlet

LINE = "x" * 99 + "\n"
HELD = 65_536
"""Bytes that a pipe of Linux holds, see pipe(7)."""


class Pipe:
    """A pipe, what was read from it, and an outlet into it that holds a hundred lines beside the pipe's own."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.counted = 0
        self.outlet = Outlet(self.writer, lambda lines: print(f"{lines} dropped", file=self.outlet), most=10_000)

    def count(self, lines: int) -> None:
        self.counted += lines

    def fill(self) -> None:
        """Nothing more fits into it."""
        os.set_blocking(self.writer, False)
        try:
            while True:
                os.write(self.writer, b"-" * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)

    def read(self, until: str) -> str:
        text = ""
        while until not in text:
            text += os.read(self.reader, HELD).decode()
        return text.lstrip("-")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)  # a write that still waits fails
    pipe.outlet.flush()
    os.close(pipe.writer)


def test_a_line_is_out_when_flush_returns(pipe: Pipe) -> None:
    pipe.outlet.write("first\nsecond\n")
    pipe.outlet.flush()
    os.set_blocking(pipe.reader, False)
    assert os.read(pipe.reader, HELD) == b"first\nsecond\n"


def test_a_reader_that_takes_nothing_stops_nobody_and_is_told_how_many_lines_it_missed(pipe: Pipe) -> None:
    pipe.outlet.counted_by(pipe.count)
    pipe.fill()
    began = time.monotonic()
    for number in range(150):
        pipe.outlet.write(f"{number:3}{LINE[3:]}")
    assert time.monotonic() - began < 1
    assert pipe.counted == 50

    text = pipe.read("dropped")
    pipe.outlet.write("after\n")
    lines = (text + pipe.read("after\n")).splitlines()
    assert [line[:3] for line in lines[:100]] == [f"{number:3}" for number in range(100)]
    assert lines[100:] == ["50 dropped", "after"]


def test_what_waits_for_a_reader_is_bounded_whatever_the_lines_are(pipe: Pipe) -> None:
    pipe.fill()
    pipe.outlet.write("y" * 20_000 + "\n")
    for _ in range(100):
        pipe.outlet.write("z" * 9_000 + "\n")
    text = pipe.read("dropped")
    assert text.count("z") == 9_000
    assert text.endswith("100 dropped\n")


def test_flush_waits_a_second_for_a_reader_that_takes_nothing_and_no_second_time(pipe: Pipe) -> None:
    pipe.fill()
    pipe.outlet.write(LINE)
    began = time.monotonic()
    pipe.outlet.flush()
    pipe.outlet.flush()
    assert 0.9 < time.monotonic() - began < 1.8


def test_lines_that_nobody_can_read_any_more_are_counted_and_the_next_ones_are_tried(pipe: Pipe) -> None:
    pipe.outlet.counted_by(pipe.count)
    elsewhere, writer = os.pipe()
    os.dup2(os.open(os.devnull, os.O_RDONLY), pipe.writer)  # as a full disk: a write fails
    for _ in range(3):
        pipe.outlet.write(LINE)
        pipe.outlet.flush()
    assert pipe.counted == 3

    os.dup2(writer, pipe.writer)
    pipe.outlet.write(LINE)
    pipe.outlet.flush()
    assert os.read(elsewhere, HELD).decode() == LINE + "3 dropped\n"


def test_a_pipe_that_a_neighbour_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    pipe.outlet.counted_by(pipe.count)
    pipe.fill()
    os.set_blocking(pipe.writer, False)
    for _ in range(50):
        pipe.outlet.write(LINE)
    pipe.outlet.write("end\n")
    assert pipe.read("end\n") == LINE * 50 + "end\n"
    assert pipe.counted == 0


def test_characters_that_the_reader_has_not_are_spelled(pipe: Pipe) -> None:
    outlet = Outlet(pipe.writer, lambda _: None, encoding="ascii")
    outlet.write("Jörg \u20ac\n")
    assert pipe.read("\n") == "J\\xf6rg \\u20ac\n"


def test_a_finalizer_that_writes_in_the_midst_of_a_write_stops_nobody(pipe: Pipe) -> None:
    pipe.outlet.counted_by(lambda lines: pipe.outlet.write("from within\n") if lines else None)
    pipe.outlet.write("y" * 20_000 + "\n")
    assert pipe.read("dropped") == "from within\n1 dropped\n"
