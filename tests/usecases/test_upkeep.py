"""What a backup, a migration, a move and a plan say to whatever face asked for them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker.settings import Settings
from worker.store.failures import DatabaseUnavailable
from worker.usecases.backup import NotSqlite, back_up
from worker.usecases.migrate import migrate_database
from worker.usecases.move import move, target_of
from worker.usecases.not_done import NoSuchAccount, NotConfigured, NotDone, WrongRequest
from worker.usecases.plan import plan_accounts

AWAY = "postgresql://shop:geheim@127.0.0.1:1/returns"
START = datetime(2026, 6, 4, 10, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, migrated_file: Path) -> Settings:
    (tmp_path / "returns.db").write_bytes(migrated_file.read_bytes())
    return Settings.model_validate({"database": {"url": f"sqlite:///{tmp_path}/returns.db"}})


def away() -> Settings:
    return Settings.model_validate({"database": {"url": AWAY}})


async def test_a_copy_is_told_of_before_older_ones_are_removed(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "returns-20200101T000000Z.db").touch()
    (folder / "returns-29990101T000000Z.db").touch()
    there: list[tuple[Path, int, int]] = []
    removed, newer = await back_up(
        settings, folder, 2, lambda file, size: there.append((file, size, len([*folder.glob("*.db")])))
    )
    [(made, size, files)] = there
    assert (made.stat().st_size, files) == (size, 3)
    assert [file.name for file in removed] == ["returns-20200101T000000Z.db"]
    assert [file.name for file in newer] == ["returns-29990101T000000Z.db"]


async def test_no_backup_is_begun_that_cannot_be_what_was_asked_for(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(WrongRequest, match="--keep is for a folder"):
        await back_up(settings, tmp_path / "none", 2, lambda *_: pytest.fail("nothing is written"))
    with pytest.raises(NotDone, match="belongs to the database itself"):
        await back_up(settings, tmp_path / "returns.db", None, lambda *_: pytest.fail("nothing is written"))
    with pytest.raises(NotSqlite):
        await back_up(away(), tmp_path, None, lambda *_: pytest.fail("nothing is written"))


async def test_a_migration_says_from_where_to_where(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    new = Settings.model_validate({"database": {"url": url}})
    first = await migrate_database(new, lambda: url, lambda *_: None)
    assert (first.before, first.was_restored, first.keeps_former_table) == (None, False, False)
    again = await migrate_database(new, lambda: url, lambda *_: None)
    assert again.before == again.after == first.after


async def test_a_move_that_comes_to_nothing_says_how_the_file_is_left(settings: Settings) -> None:
    left: list[str] = []
    target = target_of(AWAY, "the URL", "shop")
    assert "geheim" not in f"{target}"
    assert target.place.endswith("(schema shop)")
    with pytest.raises(DatabaseUnavailable):
        await move(settings, target, lambda *_: None, left.append, dry_run=False)
    assert left == ["nothing was copied, and the SQLite file is in use as before"]
    with pytest.raises(NotConfigured):
        await move(away(), target, lambda *_: None, left.append, dry_run=False)
    with pytest.raises(WrongRequest, match="--schema: "):
        target_of(AWAY, "the URL", "pg_temp")


async def test_a_plan_does_without_a_database_and_says_what_it_assumes() -> None:
    (plan,) = await plan_accounts(away(), None, START, None, None, None, lambda _: None)
    assert (plan.account, plan.open.returns) == ("default", 1000)
    assert "no database that is current" in plan.open.source
    with pytest.raises(NoSuchAccount, match="there is default"):
        await plan_accounts(away(), "elsewhere", START, None, None, 5, lambda _: None)
