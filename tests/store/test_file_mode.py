"""Who may open a new SQLite file is the umask's decision, so that a shop of the same group can be let in."""

import os
import stat
from pathlib import Path

import pytest

from worker.store.database import Database
from worker.store.schema import migrate


@pytest.mark.parametrize(("umask", "mode"), [(0o007, 0o660), (0o077, 0o600), (0o022, 0o644)])
async def test_a_new_file_and_its_log_are_made_as_the_umask_allows(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        database = Database(f"sqlite:///{tmp_path}/returns.db")
        await migrate(database)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        await database.close()
    finally:
        os.umask(before)
    assert modes == {"returns.db": mode, "returns.db-wal": mode, "returns.db-shm": mode}


async def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "returns.db").touch(mode=0o640)
    (tmp_path / "returns.db").chmod(0o640)
    database = Database(f"sqlite:///{tmp_path}/returns.db")
    await migrate(database)
    await database.close()
    assert stat.S_IMODE((tmp_path / "returns.db").stat().st_mode) == 0o640
