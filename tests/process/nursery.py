"""Starts the real command as processes of their own, without waiting two seconds for its imports each time.

A process that has imported everything forks for each command that is asked for. What runs is the command itself, from
`main()` on, with its own signals, files and exit code; a test of `python -m worker` stands beside it.
"""

import atexit
import json
import os
import queue
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Child:
    """One started command; the part of `subprocess.Popen` that tests need."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float = 30) -> int:
        assert self.ended.wait(timeout), f"process {self.pid} has not ended within {timeout} s"
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks, and who came of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.process.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self._children: dict[int, Child] = {}
        self._born: queue.Queue[Child] = queue.Queue()
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self.close)

    def start(
        self,
        *arguments: str,
        errors: Path | None,
        output: Path | None = Path(os.devnull),
        input: Path | None = Path(os.devnull),
        environ: Mapping[str, str] | None = None,
    ) -> Child:
        """`returns-worker` with these arguments; stdout and stderr are appended to files, None closes a stream."""
        asked = {
            "arguments": arguments,
            "streams": [None if file is None else str(file) for file in (input, output, errors)],
            "environ": {**os.environ, **(environ or {})},
        }
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            return self._born.get(timeout=60)

    def close(self) -> None:
        """End it and every process that came of it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "code" in said:
                child = self._children.pop(said["pid"])
                child.returncode = said["code"]
                child.ended.set()
            else:
                child = self._children[said["pid"]] = Child(said["pid"])
                self._born.put(child)


_nursery: list[Nursery] = []


def nursery() -> Nursery:
    """The one of this test session."""
    if not _nursery:
        _nursery.append(Nursery())
    return _nursery[0]


def _serve() -> None:
    """Fork for each line of JSON on stdin, say each end on stdout; when stdin ends, so do all."""
    from worker.cli import main
    from worker.cli.commands import Commands
    from worker.store import upgrade  # noqa: F401  what else a command imports when it needs it

    for entry in Commands.entries.values():
        entry.load()
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    alive: set[int] = set()
    pending = b""
    while True:
        for key, _ in selector.select():
            if key.fileobj is woken:
                woken.recv(4096)
                continue
            data = os.read(0, 1_000_000)
            if not data:
                for pid in alive:
                    os.kill(pid, signal.SIGKILL)
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    woken.close()
                    waker.close()
                    _become(json.loads(line), main)
                alive.add(pid)
                _say({"pid": pid})
        while alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            alive.discard(pid)
            _say({"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(what: Mapping[str, int]) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())


def _become(asked: Mapping[str, Any], main: Any) -> None:
    """In the forked process: be the command."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    for target, file in enumerate(asked["streams"]):
        mode = os.O_RDONLY if target == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(file or os.devnull, mode, 0o644), target)
    for target, file in enumerate(asked["streams"]):
        if file is None:
            os.close(target)
    os.environ.clear()
    os.environ.update(asked["environ"])
    time.tzset()
    sys.argv = ["returns-worker", *asked["arguments"]]
    code: object = 1
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _serve()
