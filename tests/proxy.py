"""A TCP proxy that can leave both ends half open, refuse, or cut: a network that fails as real ones do."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class Proxy:
    """Passes bytes between whoever connects and `host:port`.

    While frozen it accepts and passes nothing on, and closes nothing: neither end is told that anything is wrong.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self.asked = 0
        """How many pieces have come from those who connect; with PostgreSQL's drivers each is a question."""
        self.cut_at = 0
        """The number of a piece at which every connection is cut instead of passing it on; 0: none."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for handler in list(self._handlers):
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def freeze(self) -> None:
        """Let nothing through, in either direction."""
        self._flows.clear()

    def thaw(self) -> None:
        """Let everything through again, what was held back included."""
        self._flows.set()

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self._open.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            await self._flows.wait()
            with suppress(OSError):
                from_target, other = await asyncio.open_connection(*self._target)
                self._open.add(other)
                await self._both_ways(reader, writer, from_target, other)
        except asyncio.CancelledError:
            pass  # a stream's handler that is cancelled is reported as an error by asyncio
        finally:
            self._handlers.discard(task)
            for each in (writer, other):
                if each is not None:
                    self._open.discard(each)
                    each.transport.abort()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_target: asyncio.StreamReader,
        to_target: asyncio.StreamWriter,
    ) -> None:
        ways = [
            asyncio.create_task(self._pass(reader, to_target, self._question)),
            asyncio.create_task(self._pass(from_target, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(ways, timeout=0.1)  # the last bytes of the other direction
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def _question(self) -> None:
        self.asked += 1
        if self.asked == self.cut_at:
            self.cut()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[], None] = lambda: None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                seen()
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
