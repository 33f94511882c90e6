"""Splits an address from outside, once: what is checked is what is connected to, and no byte is re-spelled.

A signature may be made over the very bytes of an address, and each HTTP library has its own idea of how they should be
spelled (aio-libs/aiohttp#4307, #5512). So none of them reads one: path and query go out as they came, and a host is one
that all of them read alike.
"""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

import httpx

from worker.domain.public_addresses import is_numeric

MAX_BYTES = 16_384
"""The longest address that is asked for: twice what nginx and Apache take by default."""

DEFAULT_PORTS = {"http": 80, "https": 443}
_AROUND = bytes(range(0x21))  # as the URL standard has it: white space and controls around an address are none of it
_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@\\%]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")  # RFC 1035, 2.3.4; "_" is in use
_LONGEST_NAME = 254  # with the dot at its end
_OTHER_DOTS = re.compile("[\u3002\uff0e\uff61]")  # dots to IDNA 2003 (RFC 3490, 3.1), and to many who read addresses
_UNSENDABLE = re.compile(rb"[^\x21-\x7e]")


class NotAnAddress(ValueError):
    """The text names no place to ask, or not surely one; the message says why and quotes nothing of it."""


class Address(NamedTuple):
    """Where to ask, and for what.

    `host` is a name in lower case (IDNA's A-labels) or an address in its usual form, IPv6 without brackets; `target` is
    path and query as they stand on the request line.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port (RFC 6454)."""
        return self[:3]


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address of our own settings; raises `httpx.InvalidURL`."""
    parts = httpx.URL(url)
    host = parts.raw_host.decode("ascii")
    host = str(IPv6Address(host)) if ":" in host else host
    return parts.scheme, host, parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def resolved(reference: str, base: Address, encoding: str = "utf-8") -> Address:
    """The address that `reference` names beside `base` (RFC 3986, 5.2); raises `NotAnAddress`.

    A whole address keeps its dot segments, and a relative one loses them, as the RFC says. Nothing else changes but
    bytes that cannot stand on a request line (spaces, controls, all beyond ASCII): those are percent-encoded, one by
    one. `encoding` is that of the bytes in `reference`.
    """
    try:
        given = reference.encode(encoding).strip(_AROUND).partition(b"#")[0]
    except UnicodeEncodeError:
        raise NotAnAddress("its address holds half a character") from None
    if len(given) > MAX_BYTES:
        raise NotAnAddress(f"its address is longer than {MAX_BYTES} bytes")
    if any(mark in given for mark in b"\t\r\n") or given.startswith((b"\\", b"/\\")):
        # Browsers leave out the former, wherever they stand, and take the latter for "//".
        raise NotAnAddress("its address can be read in two ways")
    scheme, rest = base.scheme, given
    if named := _SCHEME.match(given):
        scheme, rest = named[1].decode().lower(), given[named.end() :]
        if scheme not in DEFAULT_PORTS or not rest.startswith(b"//"):
            raise NotAnAddress("its address is not https")
    if not rest.startswith(b"//"):
        return base._replace(target=_sendable(_merged(rest, base.target.encode())))
    end = min((at for mark in b"/?" if (at := rest.find(mark, 2)) >= 0), default=len(rest))
    host, port = _read_authority(rest[2:end])
    path, mark, query = rest[end:].partition(b"?")
    path = path or b"/"
    target = (path if named else _without_dots(path)) + mark + query
    return Address(scheme, host, port or DEFAULT_PORTS[scheme], _sendable(target))


def _read_authority(authority: bytes) -> tuple[str, int | None]:
    """Host and port; refuses a text that two readers might take for different hosts."""
    if b"@" in authority:
        raise NotAnAddress("its address holds a user name")
    parts = _AUTHORITY.fullmatch(authority)
    port = int(parts[2]) if parts and parts[2] else None
    if parts is None or (port is not None and not 0 < port < 65536):
        raise NotAnAddress("its address has no host, or one that can be read in two ways")
    try:
        return _read_host(parts[1]), port
    except ValueError:  # of a number that is no address, or bytes that are no text
        raise NotAnAddress("its host is neither a name nor an address in its usual form") from None


def _read_host(host: bytes) -> str:
    if host.startswith(b"["):
        return str(IPv6Address(host[1:-1].decode()))
    name = host.decode().lower()
    if not name.isascii() and not _OTHER_DOTS.search(name) and len(name) <= _LONGEST_NAME:
        try:
            name = httpx.URL(scheme="https", host=name).raw_host.decode()
        except httpx.InvalidURL as error:
            raise ValueError from error
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError
    return str(IPv4Address(name)) if is_numeric(name) else name


def _merged(reference: bytes, base: bytes) -> bytes:
    """RFC 3986, 5.2.2 and 5.2.3, of paths and queries."""
    path, mark, query = reference.partition(b"?")
    base_path, base_mark, base_query = base.partition(b"?")
    if not path:
        return base_path + (mark + query or base_mark + base_query)
    if not path.startswith(b"/"):
        path = base_path[: base_path.rindex(b"/") + 1] + path
    return _without_dots(path) + mark + query


def _without_dots(path: bytes) -> bytes:
    """RFC 3986, 5.2.4; `path` begins with a slash."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            kept[-1:] = []
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def _sendable(target: bytes) -> str:
    return _UNSENDABLE.sub(lambda byte: b"%%%02X" % ord(byte[0]), target).decode()
