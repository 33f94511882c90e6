"""Starts the processes that are measured, none of which outlives the benchmark, and reads what they use."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process, with the children it has waited for, has used so far, in seconds."""

    cpu: float
    wall: float

    def __sub__(self, earlier: "Usage") -> "Usage":
        return Usage(self.cpu - earlier.cpu, self.wall - earlier.wall)


def usage(pid: int) -> Usage:
    """User and system time, its own and that of children it has waited for."""
    return Usage(sum(int(field) for field in _fields(pid)[11:15]) / _TICKS, time.monotonic())


def parent_of(pid: int) -> int:
    """The process that started it."""
    return int(_fields(pid)[1])


def family_usage(pid: int) -> float:
    """CPU seconds of a process and of the children it has now or has waited for."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    used = usage(pid).cpu
    for child in map(int, children):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended, and counts as waited for next time
            used += usage(child).cpu
    return used


def resident_megabytes(pid: int) -> float:
    """Resident memory by proc_pid_status(5), in MB of a million bytes; the kernel's kB are of 1024."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has ended")


@contextmanager
def started(
    *arguments: str, errors: IO[bytes] | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process with these arguments, asked to end at the end, and killed when it does not."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        preexec_fn=_die_with_parent,  # noqa: PLW1509  no thread runs here
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def said(process: subprocess.Popen[bytes]) -> Any:
    """The next line of JSON that a process writes."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended with {process.wait()}")
    return json.loads(line)


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Look every 10 ms until there is something; `TimeoutError` says what did not come."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.01)
    return value


def _fields(pid: int) -> list[str]:
    """What proc_pid_stat(5) lists from the state on; the name before it may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
