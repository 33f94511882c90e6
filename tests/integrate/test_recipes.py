"""docs/integrate/recipes.md: the code that it shows runs as it stands, with the rights of a shop and no others."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from tests.deploy.scripts import script
from tests.documents.pages import names, read, rows, section, snippet
from tests.process.running import PAYLOAD
from tests.process.shop import Shop
from worker.domain.payload import read_payload

PAGE = read("docs/integrate/recipes.md")
INSERT = """INSERT {} INTO shop_return (id, name, email, phone, street, house_number, postal_code, city, country)
VALUES (7, 'A. de Vries', 'a@shop.example', '0612345678', 'Kooizandweg', '9', '1601 LK', 'Enkhuizen', 'NL')"""


def test_the_columns_that_a_shop_may_write_are_those_that_it_is_granted() -> None:
    granted = dict(
        re.findall(r"GRANT (INSERT|UPDATE) \(([^)]+)\) ON return_order TO returns_shop;", script("roles.sql"))
    )
    table = {what.split()[-1]: names(columns) for what, columns in rows(section(PAGE, "What a shop may write"))}
    assert table == {what: columns.split(", ") for what, columns in granted.items()}


async def test_a_shops_own_insert_asks_for_a_return_on_postgresql(shop_url: str) -> None:
    shop = Shop(shop_url)
    await shop.execute(snippet("recipe-table", PAGE))
    for statement in re.split(r"(?<=\$\$;)", snippet("recipe-trigger-postgresql", PAGE)):
        await shop.execute(statement)
    await shop.execute(INSERT.format(""))
    assert await shop.execute(snippet("recipe-join", PAGE)) == [
        {"id": 7, "state": "pending", "tracking_status": None, "error_code": None}
    ]
    (row,) = await shop.execute("SELECT payload FROM return_order WHERE reference = 'RMA-7'")
    assert read_payload(row["payload"])[1] == []


def test_a_shops_own_insert_asks_for_a_return_on_sqlite_and_one_that_replaces_asks_for_no_second(
    migrated_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "returns.db"
    file.write_bytes(migrated_file.read_bytes())
    connection = sqlite3.connect(file)
    connection.executescript(snippet("recipe-table", PAGE) + snippet("recipe-trigger-sqlite", PAGE))
    connection.execute(INSERT.format(""))
    before = connection.execute("SELECT id, payload FROM return_order").fetchall()
    connection.execute(INSERT.format("OR REPLACE"))
    after = connection.execute("SELECT id, payload FROM return_order").fetchall()
    assert connection.execute(snippet("recipe-join", PAGE)).fetchall() == [(7, "pending", None, None)]
    connection.close()
    assert after == before
    assert read_payload(before[0][1])[1] == []


def _use(shop: dict[str, Any], session: Session) -> None:
    """Ask, mend and withdraw with what the page defines, and read it all back."""
    shop["ask_for_return"](session, "S-1", {"description": "first"})
    session.commit()
    order = shop["find_return"](session, "S-1")
    assert (order.account, order.state, order.labels) == ("default", "pending", [])
    shop["mend"](order, PAYLOAD)
    shop["withdraw"](order)
    session.commit()
    session.expire_all()
    assert order.payload == PAYLOAD
    assert None not in (order.cancel_requested_at, order.retry_requested_at)


def _defined_for_sqlalchemy() -> dict[str, Any]:
    shop: dict[str, Any] = {"__name__": "shop"}
    exec(snippet("recipe-sqlalchemy", PAGE), shop)
    return shop


def test_sqlalchemy_writes_what_is_the_shops_on_sqlite(migrated_file: Path, tmp_path: Path) -> None:
    (tmp_path / "returns.db").write_bytes(migrated_file.read_bytes())
    engine = create_engine(f"sqlite:///{tmp_path}/returns.db")
    with Session(engine) as session:
        _use(_defined_for_sqlalchemy(), session)
    engine.dispose()


async def test_sqlalchemy_writes_what_is_the_shops_on_postgresql_and_is_refused_anything_else(shop_url: str) -> None:
    shop = _defined_for_sqlalchemy()

    def use(connection: Any) -> None:
        with Session(connection) as session:
            _use(shop, session)
            shop["find_return"](session, "S-1").state = "completed"
            with pytest.raises(ProgrammingError, match="permission denied for table return_order"):
                session.flush()
            session.rollback()

    engine = create_async_engine(shop_url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as connection:
        await connection.run_sync(use)
    await engine.dispose()
