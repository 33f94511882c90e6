"""Which role runs which command is what docs/operate/database.md says, as PostgreSQL itself sees it."""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import elsewhere
from tests.deploy import roles
from tests.deploy.roles import migrated, of
from tests.deploy.scripts import FOLDER
from tests.process.running import CONFIG, KEY, PAYLOAD, PILOT_PAYLOAD, TOKEN, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.cli.commands import Commands
from worker.labels.names import LabelName, aside_path
from worker.simulator import Simulator

url = roles.url
Call = Callable[[str, str], Any]
Does = Callable[..., Awaitable[None]]

# By what docs/operate/database.md calls them; {role} is who runs it, and each has a file of its own to add.
COMMANDS = {
    "run": "run --until-idle",
    "migrate": "migrate",
    "archive": "archive --older-than 0s",
    "archive --dry-run": "archive --older-than 0s --dry-run",
    "copy-to": "copy-to --dry-run {url}",
    "adopt": "adopt ADOPTED-{role} --carrier-ref N-{role} --unasked",
    "retry": "retry R-3",
    "resolve": "resolve R-4 --not-created",
    "cancel": "cancel R-2",
    "poll": "poll R-1",
    "label --refetch": "label R-1 --refetch -o -",
    "label --accept": "label R-5 --accept",
    "statuses --remap": "statuses --remap",
    "accounts hold": "accounts hold default",
    "accounts release": "accounts release default",
    "accounts rename": "accounts rename old default",
    "accounts retire": "accounts retire pilot",
    "webhooks hold": "webhooks hold hook",
    "webhooks release": "webhooks release hook",
    "webhooks replay": "webhooks replay hook R-1",
    "webhooks retire": "webhooks retire hook --yes",
    "erase": "erase R-7",
    "restored": "restored",
    "add": "add {role}.json",
    "find": "find R-1",
    "list": "list",
    "show": "show R-1",
    "export": "export R-1",
    "label": "label R-1 -o -",
    "statuses": "statuses",
    "accounts": "accounts",
    "webhooks": "webhooks",
    "check": "check",
}
WITHOUT_A_ROLE = {"schedule", "health", "demo", "simulate", "backup", "config"}


def allowed() -> dict[str, set[str]]:
    """The table of docs/operate/database.md: for each command the roles that may run it."""
    page = (FOLDER.parents[1] / "docs" / "operate" / "database.md").read_text(encoding="utf-8")
    head, table = re.search(r"^\| command \|(.*)\n\|.*\n((?:\|.*\n)+)", page, re.MULTILINE).groups()  # type: ignore[union-attr]
    roles = [f"returns_{name}" for name in re.findall(r"`returns_(\w+)`", head)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {
        command: {role for role, cell in zip(roles, cells, strict=True) if cell}
        for commands, *cells in rows
        for command in re.findall(r"`([^`]+)`", commands)
    }


def test_the_table_of_roles_has_every_command() -> None:
    assert allowed().keys() == COMMANDS.keys()
    assert {name.partition(" ")[0] for name in COMMANDS} | WITHOUT_A_ROLE == Commands.entries.keys()


@pytest.fixture
def calling(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a command as a role."""
    monkeypatch.chdir(tmp_path)

    def call(role: str, command: str) -> Any:
        words = COMMANDS[command].format(role=role, url=of(role, url))
        place = f"sqlite:///{tmp_path}/file.db" if command == "copy-to" else of(role, url)
        (tmp_path / f"{role}.json").write_text(json.dumps({"reference": f"ADDED-{role}", "payload": {}}))
        accounts = ACCOUNTS.replace("[accounts.default]", '[accounts.default]\nbase_url = "http://127.0.0.1:1"', 1)
        configured(tmp_path, f'database.url = "{place}"\ndatabase.wait = "1s"\nhttp.listen = "127.0.0.1:0"\n{accounts}')
        return called(*words.split())

    return call


@pytest.fixture
def filled(url: str, tmp_path: Path, calling: Call) -> Call:
    """The same, in a database with something to do for each command but `copy-to`, which takes an empty one."""
    labels = tmp_path / "labels"
    aside = labels / aside_path(LabelName("default", "N-5", 1))
    for file in (labels / "R-1.pdf", aside):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"%PDF-1.4")
    elsewhere(_fill(url, (labels / "R-1.pdf").as_uri()))
    return calling


async def _fill(url: str, label: str) -> None:
    shop = Shop(url)
    columns = "(reference, payload, state, next_step, due_at, carrier_ref, tracking_status, carrier_status"
    for row in (
        "('R-1', '{}', 'completed', 'track', NULL, 'N-1', 'delivered', 'Delivered', NULL)",
        "('R-2', '{}', 'pending', 'create', now(), NULL, NULL, NULL, NULL)",
        "('R-3', '{}', 'rejected', 'create', NULL, NULL, NULL, NULL, NULL)",
        "('R-4', '{}', 'needs_attention', 'create', NULL, NULL, NULL, NULL, now() - interval '1 day')",
        "('R-5', '{}', 'tracking', 'track', now() + interval '1 hour', 'N-5', 'unknown', 'Delivered', NULL)",
        "('R-7', '{}', 'rejected', 'create', NULL, NULL, NULL, NULL, NULL)",
    ):
        await shop.execute(f"INSERT INTO return_order {columns}, create_started_at) VALUES {row}")
    await shop.execute("UPDATE return_order SET error_code = 'create_outcome_unknown' WHERE reference = 'R-4'")
    await shop.execute("INSERT INTO return_order (account, reference, payload) VALUES ('old', 'R-6', '{}')")
    await shop.execute("INSERT INTO news_subscriber (name, kind) VALUES ('hook', 'webhook')")
    await shop.execute(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        " SELECT id, 1, ?1, 'application/pdf', 8, 'x' FROM return_order WHERE reference = 'R-1'",
        label,
    )


def assert_may(done: Any, role: str, command: str) -> None:
    """What the command was about may be no more, or out of reach; but no right was wanting."""
    assert isinstance(done.exception, SystemExit | None), (role, command, done.exception)
    assert "permission denied" not in done.stderr, (role, command)
    assert done.exit_code in (0, 1), (role, command, done.stderr)


def assert_may_not(done: Any, role: str, command: str) -> None:
    *before, line = done.stderr.splitlines()
    if command == "migrate":  # it waits for a right that may yet come, and says so in the log
        before = [each for each in before if '"database_refuses"' not in each]
        said, code = "error: the database cannot be reached: it refuses to be used: permission denied", 69
    else:
        said, code = "error: the database refuses to be used: permission denied", 78
    assert before in ([], ["nothing was copied, and the SQLite file is in use as before"], ["0 returns erased"])
    assert line.startswith(said), (role, command, line)
    assert done.exit_code == code, (role, command)


def test_the_shop_s_role_adds_and_looks(filled: Call, url: str) -> None:
    for command in ("add", "find", "list", "show", "label", "export", "statuses", "accounts", "check"):
        assert "returns_shop" in allowed()[command]
        done = filled("returns_shop", command)
        assert_may(done, "returns_shop", command)
        assert done.exit_code == (1 if command == "check" else 0), done.stderr  # an account is not configured
    assert elsewhere(Shop(url).execute("SELECT 1 FROM return_order WHERE reference = 'ADDED-returns_shop'"))
    for command in ("cancel", "archive", "erase", "webhooks"):
        assert_may_not(filled("returns_shop", command), "returns_shop", command)


@pytest.mark.long
@pytest.mark.parametrize("role", ["returns_reader", "returns_shop", "returns_worker", "returns_owner"])
def test_each_role_runs_what_the_table_says_and_is_refused_everything_else_in_one_line(
    url: str, request: pytest.FixtureRequest, tmp_path: Path, role: str
) -> None:
    table = allowed()
    elsewhere(migrated(f"sqlite:///{tmp_path}/file.db"))
    call = request.getfixturevalue("calling")
    (assert_may if role in table["copy-to"] else assert_may_not)(call(role, "copy-to"), role, "copy-to")
    call = request.getfixturevalue("filled")
    for command in (name for name in COMMANDS if name not in ("copy-to", "run")):
        (assert_may if role in table[command] else assert_may_not)(call(role, command), role, command)
    code, _, said = elsewhere(typed(tmp_path / "returns-worker.toml", "run", "--until-idle"))
    assert (code == 0) is (role in table["run"]), said
    assert code in (0, 69), said  # it waits for a right that may yet come


async def _work(shop: Shop, worker: RunningWorker, does: Does, folder: Path) -> None:
    async def comes_to(reference: str, state: str) -> None:
        await until(lambda: shop.is_in(reference, state), 15, lambda: worker.log_text)

    await shop.insert("R-1")
    await shop.insert("P-1", PILOT_PAYLOAD, account="pilot")
    await comes_to("R-1", "completed")
    await comes_to("P-1", "completed")
    assert await shop.execute("SELECT 1 FROM label")

    await does("accounts", "hold", "default", "--reason", "counting")
    await shop.insert("R-2")
    await does("cancel", "R-2")
    await does("accounts", "release", "default")
    await comes_to("R-2", "cancelled")

    await shop.insert("BAD", PAYLOAD | {"packages": []})
    await comes_to("BAD", "rejected")
    await shop.execute("UPDATE return_order SET payload = ?1::text::jsonb WHERE reference = 'BAD'", PAYLOAD)
    await does("retry", "BAD")
    await comes_to("BAD", "completed")
    (folder / "one.json").write_text('{"reference": "ADDED", "payload": {}}')
    await does("add", str(folder / "one.json"))
    await comes_to("ADDED", "rejected")
    await does("resolve", "ADDED", "--not-created", code=1)
    await does("cancel", "ADDED")
    for command in (
        ["poll", "R-1"],
        ["label", "R-1", "-o", str(folder / "label.pdf")],
        ["label", "R-1", "--refetch", "-o", str(folder / "again.pdf")],
        ["statuses", "--remap"],
        ["accounts", "retire", "pilot"],
        ["restored"],
        ["check"],
    ):
        await does(*command)
    await does("backup", str(folder / "x.db"), code=1)
    await comes_to("ADDED", "cancelled")


@pytest.mark.long
async def test_a_worker_does_all_its_work_under_its_role_and_so_does_every_command(url: str, tmp_path: Path) -> None:
    (tmp_path / "izipack.key").write_text(KEY)
    (tmp_path / "pilot.key").write_text(TOKEN)
    shop = Shop(of("returns_shop", url))
    async with Simulator(api_key=KEY, stage_seconds=0.3, token=TOKEN, rate_limit=0) as carrier:
        config = tmp_path / "worker.toml"
        text = CONFIG.format(database_url=of("returns_worker", url), carrier_url=carrier.url, folder=tmp_path)
        config.write_text(text.replace("auto_migrate = true", ""))

        async def does(*words: str, code: int = 0) -> None:
            done = await typed(config, *words)
            assert done[0] == code, (words, done)
            assert code or "permission denied" not in done[2], done

        await does("check")
        worker = await RunningWorker(config, tmp_path / "worker.log").ready()
        try:
            await _work(shop, worker, does, tmp_path)
        finally:
            worker.kill()
        assert not worker.saw("database_restored")
        assert "permission denied" not in worker.log_text
        config.write_text(config.read_text().replace(of("returns_worker", url), of("returns_reader", url)))
        for command in (["list"], ["show", "R-1"], ["accounts"], ["statuses"], ["check"], ["schedule"]):
            await does(*command)
        await does("add", str(tmp_path / "one.json"), code=78)
    assert {row["state"] for row in await shop.execute("SELECT state FROM return_order")} == {"completed", "cancelled"}
