"""A wrong deployment ends at once with one clear line and the exit code that tells whether a restart can help."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.process.running import KEY, RunningWorker, typed, until
from tests.process.shop import Shop, let_the_database_be_ahead

Start = Callable[..., RunningWorker]
Spoil = Callable[[Path, Path], str]


def key_is_missing(folder: Path, config: Path) -> str:
    (folder / "izipack.key").unlink()
    return f"accounts.default.api_key_file: {folder}/izipack.key: cannot be read: No such file or directory"


def key_is_a_folder(folder: Path, config: Path) -> str:
    (folder / "izipack.key").unlink()
    (folder / "izipack.key").mkdir()
    return f"accounts.default.api_key_file: {folder}/izipack.key: is not a regular file"


def key_is_two_lines(folder: Path, config: Path) -> str:
    (folder / "izipack.key").write_text(f"{KEY}\n{KEY}\n")
    return "holds a line break or another control character; a key is one line of text"


def label_folder_is_a_file(folder: Path, config: Path) -> str:
    (folder / "labels").write_text("")
    return "labels: File exists; make it a folder that user id"


def ca_file_holds_none(folder: Path, config: Path) -> str:
    (folder / "ca.pem").write_text("no certificate")
    replace(config, "[accounts.default.receiver]", f'ca_file = "{folder}/ca.pem"\n[accounts.default.receiver]')
    return f"accounts.default.ca_file: {folder}/ca.pem holds no certificates"


def database_is_no_database(folder: Path, config: Path) -> str:
    (folder / "returns.db").write_text("this is no database, and long enough to be none\n" * 100)
    return "the database refuses to be used: file is not a database"


def database_was_never_made(folder: Path, config: Path) -> str:
    (folder / "returns.db").unlink()
    replace(config, "auto_migrate = true", "auto_migrate = false")
    return "the database's schema is missing; run: returns-worker migrate"


def replace(config: Path, before: str, after: str) -> None:
    assert before in config.read_text()
    config.write_text(config.read_text().replace(before, after))


@on_sqlite
@pytest.mark.parametrize(
    "spoil",
    [
        key_is_missing,
        key_is_a_folder,
        key_is_two_lines,
        label_folder_is_a_file,
        ca_file_holds_none,
        database_is_no_database,
        database_was_never_made,
    ],
)
async def test_what_only_a_person_can_mend_ends_with_78_and_one_line(
    start: Start, config: Path, tmp_path: Path, spoil: Spoil
) -> None:
    line = spoil(tmp_path, config)
    worker = start()
    assert await worker.ended() == 78
    assert line in worker.log_text
    assert KEY not in worker.log_text
    assert "Traceback" not in worker.log_text


@pytest.mark.usefixtures("own_database")
async def test_a_database_older_than_the_code_is_not_touched_unless_it_may_be(
    start: Start, config: Path, shop: Shop
) -> None:
    await shop.execute("UPDATE returns_worker_schema SET version_num = '0005'")
    replace(config, "auto_migrate = true", "auto_migrate = false")
    worker = start()
    assert await worker.ended() == 78
    assert "the database's schema is older; run: returns-worker migrate" in worker.log_text
    assert (await shop.execute("SELECT version_num FROM returns_worker_schema"))[0]["version_num"] == "0005"


@on_sqlite
async def test_a_port_that_is_taken_may_become_free_and_so_ends_with_1(start: Start, config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        replace(config, "127.0.0.1:0", f"127.0.0.1:{port}")
        worker = start()
        assert await worker.ended() == 1
    assert f"cannot listen on 127.0.0.1:{port} (setting http.listen): Address already in use" in worker.log_text
    assert "Traceback" not in worker.log_text
    await start().ready()


@on_sqlite
async def test_a_label_store_that_is_away_may_come_back_and_so_ends_with_1(start: Start, config: Path) -> None:
    replace(config, config.read_text().split("[labels]\n")[1].splitlines()[0], 'store = "s3://bucket/labels"')
    bucket = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}
    worker = start(**bucket, AWS_ENDPOINT="https://127.0.0.1:1")
    assert await worker.ended() == 1
    assert "error: cannot write returns-worker-check to the label store s3://bucket/labels/" in worker.log_text


@on_sqlite
async def test_a_key_file_that_vanishes_is_told_and_the_last_key_stays_in_use_until_it_is_back(
    start: Start, shop: Shop, tmp_path: Path
) -> None:
    worker = await start().ready()
    gauge = 'returns_worker_account_key_unreadable{account="default"}'
    assert await worker.metric(gauge) == 0
    (tmp_path / "izipack.key").unlink()

    async def told(value: int) -> bool:
        return await worker.metric(gauge) == value

    await until(lambda: told(1), 10, lambda: worker.log_text)
    assert await worker.metric('returns_worker_account_key_unreadable{account="pilot"}') == 0
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "completed"), 15, lambda: worker.log_text)
    (tmp_path / "izipack.key").write_text(KEY)
    await until(lambda: told(0), 10, lambda: worker.log_text)


@on_postgresql
@pytest.mark.usefixtures("own_database")
async def test_a_clock_far_from_the_database_s_is_said_and_waited_for_and_may_come_right_by_itself(
    start: Start, config: Path, shop: Shop
) -> None:
    await let_the_database_be_ahead(shop, "5 minutes")
    refused = start()
    assert await refused.ended() == 1
    assert "the database's clock is 5m ahead of this machine's" in refused.log_text
    code, _, said = await typed(config, "check")
    assert (code, "the database's clock is 5m ahead" in said) == (1, True)

    replace(config, 'wait = "2s"', 'wait = "15s"')
    waiting = start()
    await until(lambda: waiting.saw("clock_differs"), 10, lambda: waiting.log_text)
    await let_the_database_be_ahead(shop, "0 s")
    await waiting.ready()
    assert abs(await waiting.metric("returns_worker_clock_offset_seconds")) < 5
    await let_the_database_be_ahead(shop, "-2 minutes")

    async def told() -> bool:
        return await waiting.metric("returns_worker_clock_offset_seconds") < -110

    await until(told, 10, lambda: waiting.log_text)
    assert [line["event"] for line in waiting.events].count("clock_differs") >= 2
    assert waiting.process.poll() is None, "a clock that goes wrong later is said, and stops nobody"
