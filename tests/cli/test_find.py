"""`find` for a person and for a program, and what `list` can be asked for."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.process.shop import Shop
from worker.cli.output import pasted

CUSTOMER = {"customer": {"name": "Jo de Vries", "address": {"postal_code": "1234 AB"}}}


@pytest.fixture
def shop(folder: Path, filled_url: str) -> Shop:
    configured(folder, f'database.url = "{filled_url}"\n{ACCOUNTS}')
    return Shop(filled_url)


def listed(*options: str) -> list[Any]:
    done = called("list", "--json", *options)
    assert done.exit_code == 0, done.output
    return [json.loads(line)["reference"] for line in done.stdout.splitlines()]


def test_find_says_what_matched_and_ends_with_1_where_nothing_does(shop: Shop) -> None:
    for number in range(3):
        asyncio.run(shop.insert(f"R-{number}", CUSTOMER))
    done = called("find", "1234ab", "--limit", "2")
    assert done.exit_code == 0
    assert "R-2" in done.stdout and "postal code 1234 AB" in done.stdout and "R-0" not in done.stdout
    assert "there are more than 2: `returns-worker find 1234ab --limit 10` has more" in done.stderr
    document = json.loads(called("find", "DE VRIES", "--json").stdout)
    assert [each["reference"] for each in document["found"]] == ["R-2", "R-1", "R-0"]
    assert document["found"][0]["matches"] == [{"matched": "name", "value": "Jo de Vries"}]
    assert (document["is_more"], document["go_on_before"]) == (False, None)
    done = called("find", "nothing\u202eat all")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "\u202e" not in done.output and "letters" not in done.output
    assert "nothing is found for 'qx'; of a name at least 3 letters are needed" in called("find", "qx").stderr
    done = called("find", "vries", "--within", "0s")
    assert (done.exit_code, "the time was over: `returns-worker find vries --before 17` goes on" in done.stderr) == (
        1,
        True,
    )
    assert called("find", "x" * 10_000).exit_code == 2


def test_a_command_that_find_and_show_offer_takes_a_reference_that_begins_with_a_dash(shop: Shop) -> None:
    asyncio.run(shop.insert("-R 1", CUSTOMER))
    assert "`returns-worker find --everywhere -- '-R 1'`" in called("find", "--", "-R 1").stderr
    shown = called("show", "--account", "default", "--", "-R 1").stdout
    assert "  returns-worker cancel --account default -- '-R 1'\n" in shown


@pytest.mark.parametrize(
    "reference", ["R\t1", "R\u202e1", "R\x1b[2J'\\", "-R\n1", "it's $HOME `id`", "漢字", "R\u00a01"], ids=ascii
)
def test_a_command_that_is_offered_is_for_this_reference_and_for_no_other_whatever_is_in_it(reference: str) -> None:
    command = pasted("cancel", reference)
    assert command.isprintable()
    heard = subprocess.run(
        ["bash", "-c", f'returns-worker() {{ printf "%s|" "$@"; }}; {command}'], capture_output=True, check=True
    )
    assert heard.stdout.decode() == "|".join(["cancel", *(["--"] if reference.startswith("-") else []), reference, ""])


def test_list_is_asked_for_by_what_its_columns_say(shop: Shop) -> None:
    asyncio.run(_with_trouble(shop))
    assert listed("--error-code", "carrier_error") == ["T-1"]
    assert listed("--error-code", "label_unusable") == ["T-2"]
    assert listed("--tracking", "delivered", "--tracking", "failed") == ["T-4", "T-3"]
    assert listed("--older-than", "400d") == ["T-5"]
    assert listed("--no-label", "--account", "pilot") == ["D-1"]
    assert "T-0" not in listed("--no-label")
    assert listed("--no-label", "--state", "pending") == []
    done = called("list", "--no-label", "--state", "pending")
    assert (done.exit_code, done.stderr) == (0, "there is no such return\n")
    assert "no label since" in called("list", "--no-label").stdout
    assert "updated" in called("list", "--older-than", "1s").stdout
    done = called("list", "--error-code", "carrier_eror")
    assert (done.exit_code, "carrier_error" in done.stderr) == (2, True)


async def _with_trouble(shop: Shop) -> None:
    changes = {
        "T-1": "error_code = 'carrier_error'",
        "T-2": "label_error_code = 'label_unusable'",
        "T-3": "tracking_status = 'failed'",
        "T-4": "tracking_status = 'delivered'",
        "T-5": "updated_at = '2020-01-01 00:00:00'",
    }
    for reference, change in changes.items():
        await shop.execute(f"UPDATE return_order SET {change} WHERE reference = '{reference}'")
    await shop.execute(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256, fetched_at)"
        " SELECT id, 1, 'file:a.pdf', 'application/pdf', 9, 'ab', '2026-06-01 00:00:00' FROM return_order"
        " WHERE reference = 'T-0'"
    )
