"""Calls the commands in this process, with settings in the folder they are called in."""

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from worker.cli.commands import application

ACCOUNTS = """
[accounts.default]
api_key = "IZI-a-key"
[accounts.default.status_map]
Delivered = "delivered"
[accounts.pilot]
carrier = "returnpilot"
api_key = "a-token"
"""


def configured(folder: Path, text: str) -> Path:
    file = folder / "returns-worker.toml"
    file.write_text(text)
    return file


def called(*words: str) -> Any:
    return CliRunner().invoke(application, list(words))
