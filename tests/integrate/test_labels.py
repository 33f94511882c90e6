"""docs/integrate/labels.md: from a label's row to its bytes, on each of the ways that the page shows."""

import getpass
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.documents.pages import read, snippet
from tests.process.running import until
from tests.process.shop import Shop
from worker.labels import FileLabelStore, LabelName, VerifiedLabel

PAGE = read("docs/integrate/labels.md")
BYTES = b"%PDF-1.4, or what a label is"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIG = """
{user}
daemon off; pid nginx.pid; error_log stderr warn;
events {{ }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{shop}; }}
    {page}
  }}
}}
"""


@pytest.fixture
async def store(tmp_path: Path) -> tuple[Path, str]:
    """A label store with a label whose number is not a file's name, and where that is."""
    label = VerifiedLabel(BYTES, "application/pdf", 1, hashlib.sha256(BYTES).hexdigest())
    folder = tmp_path / "labels"
    return folder, await FileLabelStore(folder).put(LabelName("default", "9 RET/../100%", 1), label)


def _shown(folder: Path) -> dict[str, Any]:
    """What the page defines, for a store that is this folder."""
    shop: dict[str, Any] = {}
    exec(snippet("label-handing-out", PAGE).replace("file:///var/lib/returns-worker/labels", folder.as_uri()), shop)
    return shop


async def test_the_bytes_of_a_label_are_where_its_row_says_on_a_shared_volume_too(
    store: tuple[Path, str], migrated_file: Path, tmp_path: Path
) -> None:
    folder, location = store
    (tmp_path / "returns.db").write_bytes(migrated_file.read_bytes())
    database = Shop(f"sqlite:///{tmp_path}/returns.db")
    await database.insert("RMA-1001")
    await database.execute(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        " VALUES (1, 1, ?1, 'application/pdf', 1, 'x')",
        location,
    )
    (row,) = await database.execute(snippet("label-location", PAGE))
    mounted = folder.rename(tmp_path / "mounted elsewhere")
    shop = _shown(folder)
    assert shop["label_bytes"](row["location"], mounted) == BYTES
    with pytest.raises(ValueError, match="was the label store moved"):
        shop["label_bytes"]("file:///etc/passwd", mounted)


def test_a_link_into_a_bucket_leads_to_the_label_and_runs_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    for name, value in {"ACCESS_KEY_ID": "AKIA1", "SECRET_ACCESS_KEY": "a-secret", "REGION": "eu-west-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    link = _shown(tmp_path)["signed_link"]("s3://shop/labels/default/9RET1-1-0123456789ab.pdf")
    parts, signed = urlsplit(link), parse_qs(urlsplit(link).query)
    assert (parts.scheme, parts.path.removeprefix("/shop")) == ("https", "/labels/default/9RET1-1-0123456789ab.pdf")
    assert signed["X-Amz-Expires"] == ["600"]
    assert signed["X-Amz-Credential"][0].startswith("AKIA1/")
    assert len(signed["X-Amz-Signature"][0]) == 64
    assert "a-secret" not in link


@pytest.fixture
def answering() -> Iterator[Callable[[dict[str, str]], int]]:
    """Starts a shop that answers with these headers, on the port that it returns."""
    servers: list[HTTPServer] = []

    def start(headers: dict[str, str]) -> int:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Answer))
        Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return int(servers[-1].server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@contextmanager
def _started(folder: Path) -> Iterator[None]:
    """An nginx by the `nginx.conf` of this folder, which also takes its log."""
    words = [str(NGINX), "-p", str(folder), "-c", "nginx.conf"]
    with open(folder / "log", "w") as log, subprocess.Popen(words, stderr=log) as nginx:
        try:
            yield
        finally:
            nginx.terminate()


@pytest.mark.skipif(NGINX is None, reason="needs nginx (Debian: nginx)")
async def test_nginx_sends_the_label_that_the_shops_answer_names_and_none_that_is_asked_for(
    store: tuple[Path, str], answering: Callable[[dict[str, str]], int], tmp_path: Path
) -> None:
    folder, location = store
    headers = _shown(folder)["internal_redirect"](location, "application/pdf")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = CONFIG.format(
        user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
        port=port,
        shop=answering(headers),
        page=snippet("label-nginx", PAGE).replace("/var/lib/returns-worker/labels", str(folder)),
    )
    (tmp_path / "nginx.conf").write_text(config)

    def get(path: str) -> tuple[int, str | None, bytes] | None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()
        except ConnectionRefusedError:
            return None
        finally:
            connection.close()

    with _started(tmp_path):
        sent = await until(lambda: get("/my/label"), 10, (tmp_path / "log").read_text)
        refused = get(headers["X-Accel-Redirect"])
    assert sent == (200, "application/pdf", BYTES)
    assert refused is not None and refused[0] == 404
