"""Standard error of a process that never waits for its reader: a queue with a bound, and a thread that writes."""

import io
import os
import select
import threading
from collections.abc import Callable

_MOST = 1_000_000  # bytes that wait to be written: the last thousands of lines
_PATIENCE = 1.0  # seconds that `flush` waits for a reader


class Outlet(io.TextIOBase):
    """Takes the place of `sys.stderr`; a write to it never waits for the reader at the other end.

    What does not fit into the queue is dropped, and so is what the descriptor does not take. `tell` is called with the
    number of lines dropped as soon as something gets out again, while no other line can come in between.
    """

    def __init__(self, descriptor: int, tell: Callable[[int], None], *, encoding: str = "utf-8", most: int = _MOST):
        self._descriptor, self._tell, self._encoding, self._most = descriptor, tell, encoding, most
        # Its lock may be taken again by the thread that has it: `tell` writes, and so may a finalizer at any moment.
        self._changed = threading.Condition()
        self._queue: list[bytes] = []
        self._size = 0  # bytes queued or being written
        self._missed = 0  # lines dropped that were not told yet
        self._dropped = 0
        self._count: Callable[[int], object] | None = None
        self._is_stuck = False
        threading.Thread(target=self._write_on, name="log", daemon=True).start()

    def counted_by(self, count: Callable[[int], object]) -> None:
        """Call `count` with each number of lines dropped, and now with how many there were."""
        with self._changed:
            self._count = count
            count(self._dropped)

    def write(self, text: str) -> int:
        """Queue a text, or drop it; it should be one line or several whole ones."""
        content = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            # Once something was dropped all is, until the queue has gone out: lines keep their order around the gap.
            if self._size + len(content) > self._most or (self._missed and self._size):
                self._drop(content)
            else:
                self._queue.append(content)
                self._size += len(content)
                self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Wait until all is written, but no longer than a second for a reader that takes nothing, and that once."""
        with self._changed:
            if not self._is_stuck:
                self._is_stuck = not self._changed.wait_for(lambda: self._size == 0, _PATIENCE)

    def fileno(self) -> int:
        """The descriptor that is written to."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether a person reads along."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Always: it is for nothing else."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What bytes a text becomes; characters that it has not are written as `\\uXXXX`."""
        return self._encoding

    def _drop(self, content: bytes) -> None:
        lines = content.count(b"\n")
        self._missed += lines
        self._dropped += lines
        if self._count is not None:
            self._count(lines)

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                content = b"".join(self._queue)
                self._queue.clear()
            written = self._put(content)
            with self._changed:
                self._size -= len(content)
                if written < len(content):
                    self._drop(content[written:])
                else:
                    self._is_stuck = False
                    missed, self._missed = self._missed, 0
                    if missed:
                        self._tell(missed)
                self._changed.notify_all()

    def _put(self, content: bytes) -> int:
        """How many bytes were taken: all, or fewer where the reader has gone or the disk is full."""
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process that has the same pipe or terminal made it so
                select.select([], [self._descriptor], [])
            except OSError:
                break
        return len(content) - len(rest)
