"""An account that is renamed or retired while its returns live: none is lost, none is created twice."""

from collections.abc import Callable
from pathlib import Path

from tests.databases import on_postgresql
from tests.process.running import PAYLOAD, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.simulator import Simulator

Start = Callable[..., RunningWorker]


def renamed(config: Path, *, keep_old: bool) -> None:
    """The configuration with `default` called `main`, beside or in place of its old name."""
    text = config.read_text()
    begin, end = text.index("[accounts.default]"), text.index("[accounts.pilot]")
    tables = text[begin:end]
    new = tables.replace("[accounts.default", "[accounts.main")
    config.write_text(text[:begin] + (tables if keep_old else "") + new + text[end:])


@on_postgresql
async def test_an_account_with_live_returns_is_renamed_under_a_running_worker_and_each_comes_to_its_end(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    renamed(config, keep_old=True)
    worker = await start().ready()
    await shop.insert("DONE")
    await until(lambda: shop.is_in("DONE", "completed"), 15, lambda: worker.log_text)
    assert (await typed(config, "accounts", "hold", "default"))[0] == 0
    for number in range(10):
        await shop.insert(f"WAITS-{number}")
    assert (await typed(config, "accounts", "rename", "default", "main", "--dry-run"))[2].startswith(
        "11 returns of default would be main's, 10 of them still live"
    )
    code, _, said = await typed(config, "accounts", "rename", "default", "main", "--by", "anna", "--reason", "a brand")
    assert code == 0, said
    assert said.startswith("11 returns of default are main's")
    assert "remove [accounts.default]" in said
    assert {row["account"] for row in await shop.execute("SELECT account FROM return_order")} == {"main"}
    assert not carrier.requests("create")[1:], "a hold moves with the account"
    assert (await typed(config, "accounts", "release", "main"))[0] == 0
    for number in range(10):
        await until(lambda number=number: shop.is_in(f"WAITS-{number}", "completed"), 20, lambda: worker.log_text)
    assert len(carrier.requests("create")) == 11
    told = [line["reason"] for line in await shop.history("WAITS-3")]
    assert "its account default is now called main; by anna: a brand" in told
    assert not any("now called" in str(line["reason"]) for line in await shop.history("DONE"))
    assert await worker.stopped() == 0

    config.write_text(config.read_text().replace("[accounts.default", "[accounts.other"))
    code, _, said = await typed(config, "check")
    assert "account default: not configured any more; to forget it: accounts retire default" in said
    assert (await typed(config, "accounts", "retire", "default"))[0] == 0
    assert "default" not in (await typed(config, "check"))[2]


async def test_a_hold_goes_first_and_the_longer_one_wins(shop: Shop, config: Path) -> None:
    renamed(config, keep_old=True)
    assert (await typed(config, "migrate"))[0] == 0
    await shop.insert("R-1")
    assert (await typed(config, "accounts", "hold", "default", "--reason", "nothing at all"))[0] == 0
    assert (await typed(config, "accounts", "hold", "main", "--for", "5s"))[0] == 0
    assert (await typed(config, "accounts", "hold", "main", "--no-create", "--reason", "no new ones"))[0] == 0
    assert (await typed(config, "accounts", "rename", "default", "main"))[0] == 0
    said = (await typed(config, "accounts"))[1]
    assert "held until it is released (held_by_person: by" in said and "nothing at all" in said
    assert "its creations are held by a person" in said
    code, _, said = await typed(config, "accounts", "rename", "nosuch", "main")
    assert (code, said.strip()) == (2, "error: there is no account 'nosuch'")


async def test_a_retired_account_stays_held_for_a_worker_that_still_has_it(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    worker = await start().ready()
    newer = config.with_name("newer.toml")
    text = config.read_text()
    newer.write_text(text[: text.index("[accounts.default]")] + text[text.index("[accounts.pilot]") :])
    await shop.insert("FOLLOWED", PAYLOAD | {"description": "sim:stuck"})
    await until(lambda: shop.is_in("FOLLOWED", "tracking"), 15, lambda: worker.log_text)
    assert (await typed(newer, "accounts", "retire", "default"))[0] == 0
    await shop.insert("LATER")

    async def due() -> bool:
        return await worker.metric('returns_worker_orders_due{account="default"}') == 1

    await until(due, 10, lambda: worker.log_text)
    assert await shop.is_in("LATER", "pending")
    assert len(carrier.requests("create")) == 1


async def test_a_rename_that_would_make_two_of_one_return_changes_nothing(
    start: Start, shop: Shop, config: Path
) -> None:
    assert (await typed(config, "migrate"))[0] == 0
    for account in ("default", "older"):
        await shop.insert("BOTH", account=account)
    await shop.insert("ONE", account="older")
    code, _, said = await typed(config, "accounts", "rename", "older", "default")
    assert (code, said.strip()) == (1, "error: older and default both have BOTH: only one account can have each")
    rows = await shop.execute("SELECT account, reference FROM return_order ORDER BY id")
    assert [(row["account"], row["reference"]) for row in rows] == [
        ("default", "BOTH"),
        ("older", "BOTH"),
        ("older", "ONE"),
    ]
    assert (await typed(config, "accounts", "rename", "older", "nowhere"))[0] == 78
    assert (await typed(config, "accounts", "rename", "default", "pilot"))[0] == 2


async def test_an_account_with_live_returns_is_retired_and_check_finds_what_is_left(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    worker = await start().ready()
    await shop.insert("FOLLOWED", PAYLOAD | {"description": "sim:stuck"})
    await until(lambda: shop.is_in("FOLLOWED", "tracking"), 15, lambda: worker.log_text)
    await shop.insert("DOUBT", PAYLOAD | {"description": "sim:lost-answer"})
    await until(lambda: shop.is_in("DOUBT", "needs_attention"), 15, lambda: worker.log_text)
    assert (await typed(config, "accounts", "hold", "default"))[0] == 0
    await shop.insert("UNSENT")
    asked = len(carrier.requests("create"))

    dry = await typed(config, "accounts", "retire", "default", "--dry-run")
    assert "UNSENT: pending -> cancelled" in dry[1]
    assert await shop.is_in("UNSENT", "pending")
    code, out, said = await typed(config, "accounts", "retire", "default", "--by", "anna")
    assert code == 1, "a creation in doubt is left to a person"
    assert "DOUBT: refused: its creation may have happened" in said
    assert "FOLLOWED: tracking -> completed" in out
    assert await shop.is_in("UNSENT", "cancelled")
    assert (await shop.order("FOLLOWED"))["tracking_status"] == "expired"
    assert await worker.stopped() == 0

    text = config.read_text()
    config.write_text(text[: text.index("[accounts.default]")] + text[text.index("[accounts.pilot]") :])
    code, _, said = await typed(config, "check")
    assert code == 1
    assert "1 wait for account 'default', which is not configured" in said
    assert (await typed(config, "cancel", "DOUBT"))[0] == 0
    assert (await typed(config, "accounts", "retire", "default"))[0] == 0
    code, _, said = await typed(config, "check")
    assert (code, "default" in said) == (0, False), said
    assert len(carrier.requests("create")) == asked
