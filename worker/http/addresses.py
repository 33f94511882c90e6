"""Sees to it that a URL from outside cannot make the worker read from inside, nor keep it from looking up names."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.domain.public_addresses import is_public

_LONGEST_HOST = 253
"""Characters of a host that a message quotes: a name in DNS has no more (RFC 1035, section 2.3.4)."""


class ForbiddenAddress(httpx.TransportError):
    """A `public_only` request that would have gone to an address that is not public: no byte of it left.

    The message names the host and, if there was a look-up, the address; never the path, which may be a secret.
    """


def require_public(host: str, address: str) -> None:
    """Raise `ForbiddenAddress` if `address`, where `host` is or which it is itself, is not public."""
    if not is_public(address):
        place = "" if address == host else f"is at {address[:_LONGEST_HOST]}, which "
        raise ForbiddenAddress(f"{host[:_LONGEST_HOST]} {place}is not a public address")


class LookUps(AbstractResolver):
    """Looks names up in a few threads of its own.

    A name server that does not answer keeps a look-up for half a minute, also when whoever asked has given up. The
    event loop has threads for a few of them, uvloop for two, which all that the process asks for would wait for.
    """

    def __init__(self, most: int = 4) -> None:
        """`most` look-ups are made at the same time."""
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="look-up")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses; raises OSError if there are none."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _looked_up, host, port, family)

    async def close(self) -> None:
        """Begin no look-up any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _looked_up(host: str, port: int, family: int) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            # with its scope, where it has one
            host=socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0],
            port=port,
            family=of_family,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for of_family, _, protocol, _, address in found
    ]


OF_LINKS = LookUps()
"""For addresses from outside, of all accounts: what they name is looked up rarely, and must not keep what we call."""


class PublicResolver(AbstractResolver):
    """Looks names up with `inner`, and refuses a name of which any address is not public.

    One bad address condemns the name: it was mixed in to have that one read. The connection is made to the very
    addresses that were checked, so an answer that changes (DNS rebinding) changes nothing.
    """

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses; raises `ForbiddenAddress`, and OSError if there are none."""
        results = await self._inner.resolve(host, port, family)
        if not results:
            raise OSError(f"no address for {host[:_LONGEST_HOST]}")
        for result in results:
            require_public(host, result["host"])
        return results

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._inner.close()
