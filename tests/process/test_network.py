"""A network in which the carrier is behind a proxy with a password, and shows a private authority's certificate."""

import asyncio
import base64
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.databases import on_sqlite
from tests.process.running import KEY, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator

Start = Callable[..., RunningWorker]

CARRIER = "carrier.internal"  # a name that only the proxy knows the way to
PASSWORD = "a-proxy-password"


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Let this connection and a new one to `port` be one."""
    there, back = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(pass_on(reader, back), pass_on(there, writer))


def private_authority(folder: Path) -> tuple[Path, Path]:
    """The certificate to trust, which is the carrier's own, and a file of it together with its key."""
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN={CARRIER} -addext subjectAltName=DNS:{CARRIER} -keyout carrier.key -out ca.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True, cwd=folder)
    both = folder / "carrier.pem"
    both.write_text((folder / "carrier.key").read_text() + (folder / "ca.pem").read_text())
    return folder / "ca.pem", both


@asynccontextmanager
async def serving(handle: Callable[..., object], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)  # type: ignore[arg-type]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def network(simulator: Simulator, certificate: Path) -> AsyncIterator[tuple[int, list[str]]]:
    """The proxy's port, and what it was asked for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    asked: list[str] = []
    expected = base64.b64encode(f"worker:{PASSWORD}".encode()).decode()

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join(reader, writer, urlsplit(simulator.url).port or 0)

    async with serving(front, context) as tls_port:

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            asked.append(head.splitlines()[0])
            if f"Basic {expected}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await join(reader, writer, tls_port)

        async with serving(proxy) as port:
            yield port, asked


@on_sqlite
async def test_a_return_comes_to_its_end_through_a_proxy_with_a_password_and_a_private_authority(
    start: Start, shop: Shop, carrier: Simulator, config: Path, tmp_path: Path
) -> None:
    ca_file, certificate = private_authority(tmp_path)
    async with network(carrier, certificate) as (port, asked):
        text = config.read_text().replace(
            f'base_url = "{carrier.url}"\n',
            f'base_url = "https://{CARRIER}"\nproxy = "http://worker:{{}}@127.0.0.1:{port}"\n',
        )
        config.write_text(text.format("a-wrong-password"))
        wrong = await start().ready()
        await shop.insert("R-1")
        await until(lambda: asked, 10, lambda: wrong.log_text)
        await until(lambda: _has_error(shop, "carrier_unreachable"), 10, lambda: wrong.log_text)
        assert await wrong.stopped() == 0
        assert not carrier.requests("create"), "a refusal by the proxy proves that nothing was sent"

        config.write_text(text.format(PASSWORD))
        untrusting = await start().ready()
        await until(lambda: asked[-1:] == [f"CONNECT {CARRIER}:443 HTTP/1.1"] and len(asked) > 3, 10)
        assert await untrusting.stopped() == 0
        assert not carrier.requests("create"), "a certificate that is not trusted is sent nothing"

        trusting = f'ca_file = "{ca_file}"\n[accounts.default.receiver]'
        config.write_text(config.read_text().replace("[accounts.default.receiver]", trusting))
        worker = await start().ready()
        await until(lambda: shop.is_in("R-1", "completed"), 20, lambda: worker.log_text)
        assert await worker.stopped() == 0
    assert len(carrier.requests("create")) == 1
    assert await shop.execute("SELECT * FROM label")
    assert set(asked) == {f"CONNECT {CARRIER}:443 HTTP/1.1"}
    for secret in (PASSWORD, "a-wrong-password", KEY):
        assert secret not in wrong.log_text + untrusting.log_text + worker.log_text


async def _has_error(shop: Shop, code: str) -> bool:
    return bool((await shop.order("R-1"))["error_code"] == code)
