"""The promises of the tests' own PgBouncer."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.pgbouncer import PgBouncer


def test_a_killed_test_process_leaves_no_pooler_and_no_folder(pgbouncer: PgBouncer) -> None:
    program = (
        "import sys; from tests.pgbouncer import PgBouncer; bouncer = PgBouncer(sys.argv[1]).start();"
        "print(bouncer.url, bouncer.folder, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, pgbouncer.url],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        url, folder = other.stdout.readline().split()
        assert Path(folder).is_dir()
        other.kill()
    deadline = time.monotonic() + 20
    while Path(folder).exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=5)
