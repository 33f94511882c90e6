"""`simulate` can be used by a program: where the carriers are stands on stdout, and nothing else does."""

import asyncio
import json
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.process.nursery import nursery
from tests.process.running import until


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
async def test_the_addresses_are_on_stdout_and_everything_else_on_stderr(tmp_path: Path, as_json: bool) -> None:
    out, errors = tmp_path / "out", tmp_path / "errors"
    for file in (out, errors):
        file.touch()
    child = nursery().start(
        "simulate", "--port", "0", "--api-key", "IZI-1", *(["--json"] if as_json else []), output=out, errors=errors
    )
    try:
        await until(lambda: "reference that change its fate" in errors.read_text(), 10, errors.read_text)
        said = out.read_text()
        if as_json:
            told = json.loads(said)
            base_url = told["izipack"]["base_url"]
            assert told["izipack"]["api_key"] == "IZI-1"
            assert told["returnpilot"] == {"base_url": f"{base_url}/api/v1", "api_key": "RP-simulator"}
            address = told["control"]
            assert await asyncio.to_thread(lambda: urllib.request.urlopen(address, timeout=5).status) == 200
        else:
            first, second = said.splitlines()
            assert first.startswith("izipack at http://127.0.0.1:") and first.endswith(", key IZI-1")
            assert second.startswith("returnpilot at http://127.0.0.1:")
    finally:
        child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(child.wait) == 0
