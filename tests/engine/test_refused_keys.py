"""Workers with different keys: the one whose key is refused rests, and does not take turns with the other for ever."""

from datetime import timedelta
from pathlib import Path

from structlog.testing import capture_logs

from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from worker.carriers.port import Unauthorized
from worker.domain.outcomes import Created
from worker.engine.account import REST
from worker.store.database import Database
from worker.store.holds import read_accounts, release_by_hand


def refuse(_: str) -> Created:
    raise Unauthorized("the carrier refused the key (401)")


async def a_worker(database: Database, folder: Path, key: str, *, refused: bool) -> tuple[Loop, ScriptedCarrier]:
    carrier = ScriptedCarrier()
    carrier.on_create = refuse if refused else lambda reference: Created(f"N{reference}", None, has_label=False)
    loop = await make_loop(database, folder, {"default": carrier}, max_in_flight=1)
    loop.accounts["default"].key_fingerprint = lambda: key
    return loop, carrier


async def turns(*loops: Loop, times: int = 8) -> None:
    for _ in range(times):
        for loop in loops:
            await loop.turn()


async def test_a_worker_whose_key_is_refused_rests_while_another_one_works(database: Database, tmp_path: Path) -> None:
    old, refused = await a_worker(database, tmp_path, "old", refused=True)
    new, accepted = await a_worker(database, tmp_path, "new", refused=False)
    await old.insert(*(f"R{number}" for number in range(12)))
    with capture_logs() as lines:
        await turns(old, new, times=12)
    assert refused.count("create") == 1
    assert accepted.count("create") > 5
    assert [line["event"] for line in lines].count("account_released") == 1
    assert [line["event"] for line in lines].count("account_key_rests") == 1


async def test_workers_whose_keys_are_all_refused_try_once_each(database: Database, tmp_path: Path) -> None:
    pairs = [await a_worker(database, tmp_path, key, refused=True) for key in ("one", "two", "three")]
    await pairs[0][0].insert(*(f"R{number}" for number in range(12)))
    await turns(*(loop for loop, _ in pairs), times=12)
    assert [carrier.count("create") for _, carrier in pairs] == [1, 1, 1]
    assert (await read_accounts(database))["default"].hold is not None


async def test_a_worker_that_starts_with_a_key_that_was_refused_to_another_one_does_not_try_it(
    database: Database, tmp_path: Path
) -> None:
    old, _ = await a_worker(database, tmp_path, "old", refused=True)
    new, _ = await a_worker(database, tmp_path, "new", refused=False)
    await old.insert("R1")
    await turns(old, new)
    again, refused = await a_worker(database, tmp_path, "old", refused=True)
    await old.insert("R2")
    await turns(again)
    assert refused.count("create") == 0


async def test_a_refused_key_is_tried_again_after_its_rest_at_once_after_a_release_and_at_once_as_another(
    database: Database, tmp_path: Path
) -> None:
    old, carrier = await a_worker(database, tmp_path, "old", refused=True)
    new, _ = await a_worker(database, tmp_path, "new", refused=False)
    await old.insert("R1")
    await turns(old, new)
    account = old.accounts["default"]
    await old.insert("R2", "R3", "R4", "R5")
    await turns(old)
    assert carrier.count("create") == 1

    account._resting["old"] -= REST
    await turns(old)
    assert carrier.count("create") == 2

    await release_by_hand(database, "default")
    await turns(old)
    assert carrier.count("create") == 3

    account.key_fingerprint = lambda: "new"
    carrier.on_create = lambda reference: Created(f"N{reference}", None, has_label=False)
    await turns(old)
    assert carrier.count("create") == 7
    assert timedelta(minutes=1) < REST < timedelta(hours=1)
