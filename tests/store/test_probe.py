import pytest
from tests.store import rows
@pytest.mark.parametrize("n", range(10))
async def test_x(database, shop, n):
    i = await rows.insert(shop, "a")
    o = await rows.take_one(database)
    assert o.id == i
