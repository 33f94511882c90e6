"""The commands of a person, as typed, beside a worker that runs."""

from collections.abc import Callable
from pathlib import Path

from tests.databases import on_sqlite
from tests.process.running import RunningWorker, typed, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import cut, reply

Start = Callable[..., RunningWorker]


@on_sqlite
async def test_a_person_leads_every_held_and_rejected_return_out(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    text = config.read_text().replace('timeout = "2s"', 'timeout = "1s"').replace('lease = "5s"', 'lease = "2s"')
    config.write_text(text)
    worker = await start().ready()
    carrier.inject("create", cut(process=True), 1)
    await shop.insert("MADE")
    await until(lambda: shop.is_in("MADE", "needs_attention"), 15, lambda: worker.log_text)
    carrier.inject("create", cut(process=False), 2)
    for reference in ("UNMADE-1", "UNMADE-2"):
        await shop.insert(reference)
        await until(lambda r=reference: shop.is_in(r, "needs_attention"), 15, lambda: worker.log_text)
    carrier.inject("create", reply(400), 1)
    await shop.insert("REFUSED")
    await until(lambda: shop.is_in("REFUSED", "rejected"), 15, lambda: worker.log_text)
    (number,) = carrier.orders

    patient = config.with_name("patient.toml")  # the workers' lease is not yet over, however slow this machine is
    patient.write_text(text.replace('lease = "2s"', 'lease = "10m"'))
    code, _, said = await typed(patient, "resolve", "MADE", "--not-created")
    assert (code, "a worker that was stopped may still send it" in said) == (1, True)
    code, out, _ = await typed(config, "resolve", "MADE", "--carrier-ref", number, "--reason", "seen", "--by", "anna")
    assert (code, out) == (
        0,
        f"MADE: needs_attention -> tracking: resolved: it is {number} at the carrier; by anna: seen\n",
    )
    code, out, said = await typed(config, "retry", "REFUSED", "--by", "anna")
    assert (code, out) == (0, "REFUSED: rejected -> pending: put back to be created; by anna\n")
    code, _, said = await typed(config, "retry", "UNMADE-1")
    assert (code, "cannot be searched" in said) == (1, True)

    chosen = ["--state", "needs_attention", "--error-code", "create_outcome_unknown", "--older-than", "1s"]

    async def nobody_can_be_sending_them() -> bool:  # after a lease and a time limit; until then it is refused
        code, out, said = await typed(config, "resolve", "--not-created", *chosen, "--dry-run")
        return (code, len(out.splitlines()), said) == (0, 2, "2 returns would be changed\n")

    await until(nobody_can_be_sending_them, 10)
    assert await shop.is_in("UNMADE-1", "needs_attention")
    code, out, said = await typed(config, "resolve", "--not-created", *chosen, "--by", "anna", "--reason", "not there")
    assert (code, len(out.splitlines()), said) == (0, 2, "2 returns changed\n")

    for reference in ("MADE", "UNMADE-1", "UNMADE-2", "REFUSED"):
        await until(lambda r=reference: shop.is_in(r, "completed"), 15, lambda: worker.log_text)
    assert len(carrier.orders) == 4
    reasons = [line["reason"] for line in await shop.history("UNMADE-2") if line["field"] == "state"]
    assert reasons[1] == "resolved: nothing is at the carrier; by anna: not there"
    recorded = [await shop.history(reference) for reference in ("MADE", "UNMADE-1", "UNMADE-2", "REFUSED")]
    assert sum(line["new_value"] == "tracking" for lines in recorded for line in lines) == 4
    counted = await worker.metric('returns_worker_transitions_total{account="default",field="state",to="tracking"}')
    assert counted == 3, "the command's own is not among what the worker counts"
    _, metrics = await worker.get("/metrics")
    assert (
        "# HELP returns_worker_transitions_total Changes that this worker recorded; not those of commands." in metrics
    )
    code, _, said = await typed(config, "cancel", "MADE")
    assert (code, said) == (1, "MADE: refused: it is already completed\n0 returns changed, 1 refused\n")


@on_sqlite
async def test_what_makes_no_sense_is_wrong_usage(start: Start, shop: Shop, config: Path) -> None:
    worker = await start().ready()
    assert await worker.stopped() == 0
    for words in (
        ["retry"],
        ["retry", "R-1", "--state", "rejected"],
        ["resolve", "R-1"],
        ["resolve", "R-1", "--carrier-ref", "X", "--not-created"],
        ["resolve", "--state", "needs_attention", "--carrier-ref", "X"],
        ["cancel", "--older-than", "soon"],
        ["retry", "--state", "rejected", "--limit", "99999999999999999999"],
        ["retry", "\udcff"],
        ["show", "\udcff"],
    ):
        code, out, said = await typed(config, *words)
        assert (code, out) == (2, ""), words
        assert said
    await shop.execute("INSERT INTO return_order (reference, payload, account) VALUES ('P', '{}', 'pilot')")
    for number in ("..", "a/b", "0", "12x", ""):
        code, _, said = await typed(config, "resolve", "P", "--carrier-ref", number)
        assert (code, "no number of this carrier's" in said) == (2, True), number
    await shop.execute("UPDATE return_order SET state = 'rejected', due_at = NULL, reference = 'P' || ?1", "\n\x1b[31m")
    _, out, _ = await typed(config, "retry", "--state", "rejected", "--dry-run")
    assert out.isprintable() or out.rstrip("\n").isprintable()
    await shop.execute("DELETE FROM return_order")
    code, _, said = await typed(config, "restored")
    assert (code, said) == (0, "0 pending returns are looked up, or left to a person, before being created\n")
