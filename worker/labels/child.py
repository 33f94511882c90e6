"""A resident child process that reads hostile files and can be killed, unlike a thread.

Why a process: a thread stuck in a hostile file cannot be stopped. It would hold its place in the pool for
ever, take every other turn of the interpreter lock from the event loop, keep all the memory it asked for,
and block the interpreter's exit. A child is killed, and the next file gets a new one. It stays alive between
files because starting Python with pypdf costs hundreds of milliseconds, and asking a running one about one.

    parent  -- length, time limit, content -->  child      over a socket pair: the child's standard input,
            <-- one line of JSON ------------              so that the child sees end of file when we are gone
"""

import atexit
import contextlib
import json
import logging
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

START_LIMIT = 60.0
"""Seconds a new child may take until it is ready; generous, for a machine that is starting up."""

MEMORY_LIMIT = 1 << 30
"""Address space of a child in bytes; a label is at most some 20 MB."""

_QUESTION = struct.Struct(">Qd")
_LONGEST_ANSWER = 4096
_READY = b"\n"
# The child handles hostile bytes, so it gets none of the secrets that our environment may hold.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME")


class ChildDied(Exception):
    """The child ended, or answered nonsense, before it gave an answer."""


class ChildTimedOut(Exception):
    """The child gave no answer in time; it has been killed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the child says: a number, or an `error` text when there is none (else it is empty)."""

    value: int
    error: str


class Child:
    """One child process, started and ready; not for two threads at once. Raises OSError if it won't start."""

    def __init__(self, code: str) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
                [sys.executable, "-P", "-c", code],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a Ctrl-C at the terminal is for us alone
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._await_ready()

    def _await_ready(self) -> None:
        self._socket.settimeout(START_LIMIT)
        try:
            ready = self._socket.recv(1) == _READY
        except OSError:
            ready = False
        if not ready:
            self.kill()
            code = self._process.returncode
            raise OSError(f"the process that checks labels did not start (exit code {code})")

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask(self, content: bytes, timeout: float) -> Answer:
        """Send the content and wait at most `timeout` seconds for the answer; kills the child on failure."""
        deadline = time.monotonic() + timeout
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(_QUESTION.pack(len(content), timeout))
            self._socket.sendall(content)
            line = self._read_line(deadline)
            answer = json.loads(line)
            return Answer(int(answer["value"]), str(answer["error"]))
        except TimeoutError:
            self.kill()
            raise ChildTimedOut from None
        except (OSError, ValueError, KeyError, TypeError):
            self.kill()
            raise ChildDied from None
        except BaseException:
            self.kill()  # half a question is on the wire
            raise

    def _read_line(self, deadline: float) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._socket.settimeout(remaining)
            part = self._socket.recv(_LONGEST_ANSWER)
            line += part
            if not part or len(line) > _LONGEST_ANSWER:
                raise ValueError("no answer")
        return line

    def kill(self) -> None:
        """End the process now and reap it."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


class ChildPool:
    """Idle children, started when needed; as many as there are threads that borrow at the same time."""

    def __init__(self, code: str) -> None:
        self._code = code
        self._idle: list[Child] = []
        self._lock = threading.Lock()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._idle.clear)  # the parent's children are not a fork's to use

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Child]:
        """Lend a running child; it comes back to the pool unless it has died."""
        child = self._take() or Child(self._code)
        try:
            yield child
        finally:
            if child.alive:
                with self._lock:
                    self._idle.append(child)

    def _take(self) -> Child | None:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.alive:
                    return child
                child.kill()  # it has ended while idle: closes our end
        return None

    def close(self) -> None:
        """Kill the idle children; the pool starts new ones when it is used again."""
        with self._lock:
            while self._idle:
                self._idle.pop().kill()


def serve(count: Callable[[bytes], int]) -> None:
    """Be the child: answer questions on standard input with `count` until the parent is gone."""
    _restrict()
    connection = socket.socket(fileno=0)
    connection.sendall(_READY)
    with connection.makefile("rb") as questions:
        while len(header := questions.read(_QUESTION.size)) == _QUESTION.size:
            length, limit = _QUESTION.unpack(header)
            # Nothing else ends this process where the parent is gone when the time is up.
            signal.setitimer(signal.ITIMER_REAL, limit + 5.0)
            answer = _answer(count, questions.read(length))
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.sendall(json.dumps({"value": answer.value, "error": answer.error}).encode() + b"\n")


def _answer(count: Callable[[bytes], int], content: bytes) -> Answer:
    try:
        return Answer(count(content), "")
    except Exception as error:  # the counter words its own failures; see count_pages
        return Answer(0, str(error) or type(error).__name__)


def _restrict() -> None:
    # A service manager signals the whole group; the child must live until the parent has drained.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for limit, wanted in ((resource.RLIMIT_AS, MEMORY_LIMIT), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # macOS has no RLIMIT_AS worth the name
            hard = resource.getrlimit(limit)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(limit, (value, value))
