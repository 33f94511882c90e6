"""A creation that was permitted but whose connection took too long is not sent: its lease may be over by then."""

import asyncio

import pytest

from tests.carriers import pilot, wire
from tests.carriers.wire import Wire, raw_server, read_request
from worker.carriers import open_carrier
from worker.carriers.port import NoTimeLeft, Unpaced
from worker.carriers.registry import AccountConfig


class TooLateOnceConnected(Unpaced):
    """As after a process that was stopped while it connected."""

    def check(self) -> None:
        raise NoTimeLeft


@pytest.mark.parametrize(("name", "order"), [("izipack", wire.order()), ("returnpilot", pilot.order())])
async def test_not_a_byte_of_a_creation_leaves_after_its_time(name: str, order: pilot.ReturnOrder) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Wire) -> None:
        await read_request(reader, server)

    async with raw_server(answer) as server:
        config = AccountConfig(carrier=name, key=lambda: "key", base_url=server.url, timeout=5.0)
        carrier = open_carrier(config, lambda operation, outcome, seconds: None, None, TooLateOnceConnected())
        with pytest.raises(NoTimeLeft):
            await carrier.create(carrier.prepare(order))
        await carrier.close()
    assert server.connections == 1
    assert server.heads == []
