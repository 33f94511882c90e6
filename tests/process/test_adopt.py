"""docs/integrate/moving.md: returns of another system are brought in as it says, beside a worker that runs."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import on_sqlite
from tests.documents.pages import read, snippet
from tests.process.running import RunningWorker, typed, until
from tests.process.shop import Shop
from tests.usecases.test_adopt import made
from worker.simulator import Simulator

PAGE = read("docs/integrate/moving.md")


@pytest.mark.long
@on_sqlite
async def test_returns_of_another_system_are_brought_in_as_the_page_says(
    start: Callable[..., RunningWorker], shop: Shop, carrier: Simulator, config: Path
) -> None:
    worker = await start().ready()
    numbers = {written: await made(carrier) for written in ("9RET326720205706", "9RET326720205714", "9RET326720205722")}

    def as_it_is(mark: str) -> str:
        text = snippet(mark, PAGE)
        for written, number in numbers.items():
            text = text.replace(written, number)
        return text

    file = config.with_name("returns.csv")
    file.write_text(as_it_is("moving-csv"))
    words = shlex.split(snippet("moving-command", PAGE).replace("returns.csv", str(file)))[1:]
    code, out, said = await typed(config, *words, "--by", "anna")
    assert (code, said) == (0, "2 returns adopted\n")
    assert out.splitlines()[0].startswith(f"RMA-0901: adopted as {numbers['9RET326720205706']}: ")
    await shop.execute(as_it_is("moving-insert"))
    for reference, number in zip(("RMA-0901", "RMA-0902", "RMA-0903"), numbers.values(), strict=True):
        await until(lambda r=reference: shop.is_in(r, "completed"), 15, lambda: worker.log_text)
        assert (await shop.order(reference))["carrier_ref"] == number
    labels = await shop.execute("SELECT return_order_id FROM label WHERE page_count = 1 ORDER BY 1")
    assert len(labels) == 3
    assert not carrier.requests("create")
    first = (await shop.history("RMA-0901"))[0]["reason"]
    assert first.endswith("adopted, and not created; by anna: moved from the old system")
