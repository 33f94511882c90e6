"""How many pages a label must have: as the carrier documents, or any number where the account's settings say so."""

import asyncio
from pathlib import Path

import pytest

from tests.carriers.wire import Wire, at_carrier, raw_server, read_request
from worker.from_settings import open_account
from worker.settings import load


async def a_label(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Wire) -> None:
    await read_request(reader, server)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n%PDF-1.4 ...")


@pytest.mark.parametrize(
    ("setting", "pages"), [("", 2), ('label_pages = "documented"', 2), ('label_pages = "any"', None)]
)
async def test_any_number_of_pages_is_a_label_where_the_account_says_so(
    tmp_path: Path, setting: str, pages: int | None
) -> None:
    async with raw_server(a_label) as server:
        file = tmp_path / "worker.toml"
        file.write_text(f'[accounts.default]\nbase_url = "{server.url}"\napi_key = "IZI-a-key"\n{setting}\n')
        carrier = open_account(load(file, {}), "default", lambda: "IZI-a-key", lambda *_: None)
        assert (await carrier.label(at_carrier())).pages == pages
        adopted = at_carrier()._replace(payload="{}")
        assert (await carrier.label(adopted)).pages is None, "nobody said how many packages it has"
        await carrier.close()
