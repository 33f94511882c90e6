"""What the process was started with, put in order before anything else: descriptors, streams, variables."""

import io
import os
import sys

STDIN, STDOUT, STDERR = range(3)

_OF_NEIGHBOURS = (
    # prometheus_client would keep our metrics in files of that folder, beside those of the program that it was set for,
    # and fail at the start where there is none (https://prometheus.github.io/client_python/multiprocess/).
    *("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"),
    # ssl.create_default_context would write the keys of every connection into that file, with which our API keys can be
    # read off the wire; and fail where it cannot be written.
    "SSLKEYLOGFILE",
)


class Unwritable(Exception):
    """Stdout does not take what is written, so the command has not done what it is for; `errno` says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.errno = error.errno


class _Results(io.FileIO):
    """Stdout: an error of it is told apart from every other OSError."""

    def write(self, content: bytes) -> int:  # type: ignore[override]
        try:
            return super().write(content)
        except OSError as error:
            raise Unwritable(error) from error


class _Messages(io.FileIO):
    """Stderr: what it does not take is lost, which is no reason to stop working."""

    def write(self, content: bytes) -> int:  # type: ignore[override]
        try:
            return super().write(content)
        except OSError:
            return len(content)


def put_in_order() -> None:
    """Open what is closed, let no stream raise for a character that it lacks, drop what is set for other programs."""
    for name in _OF_NEIGHBOURS:
        os.environ.pop(name, None)
    _open_closed()
    sys.stdin = sys.stdin or open(STDIN, closefd=False)  # noqa: SIM115
    sys.stdout = _stream(_Results(STDOUT, "w", closefd=False), sys.stdout)
    sys.stderr = _stream(_Messages(STDERR, "w", closefd=False), sys.stderr)


def forget_stdout() -> None:
    """Send what is still buffered nowhere, so that it raises nothing when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


def _open_closed() -> None:
    """Open closed descriptors: else a database or a connection gets such a number, and is printed to.

    They are opened the wrong way round, so that a command which needs one fails as with a closed one.
    """
    for descriptor, mode in ((STDIN, os.O_WRONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)  # the lowest that is free, which is this one
            assert opened == descriptor
            os.set_inheritable(opened, True)


def _stream(raw: io.FileIO, before: object) -> io.TextIOWrapper:
    of = before if isinstance(before, io.TextIOWrapper) else None
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=of.encoding if of else "utf-8",
        errors="backslashreplace",
        # With PYTHONUNBUFFERED, as in a container, Python sets write_through alone, and has no buffer; ours has one.
        line_buffering=of.line_buffering or of.write_through if of else True,
        write_through=of.write_through if of else False,
    )
