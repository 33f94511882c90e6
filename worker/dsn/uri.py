"""Splits a PostgreSQL URL into parameters, as libpq does, but refuses what is a mistake in all likelihood.

https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING-URIS; the judge is PQconninfoParse.
"""

from worker.dsn.parameters import PARAMETERS, BadUrl, unknown

SCHEMES = ("postgresql", "postgres")


def check_uri(rest: str) -> None:
    """Raise `BadUrl` for what is wrong with a URL by itself; `rest` follows its `postgresql://`."""
    for name, value in read_uri(rest).items():
        PARAMETERS[name].check(value, name)


def read_uri(rest: str) -> dict[str, str]:
    """The parameters that a URL gives, decoded, by libpq's names; `rest` follows its `postgresql://`.

    Raises `BadUrl`. The first `@` before any `/` ends user and password; up to there everything but a % may stand in
    them as it is.
    """
    if any(char <= " " or char == "\x7f" for char in rest):
        # Some versions of libpq cut such a value, some keep it, the newest refuse it.
        raise BadUrl("must hold no spaces and no control characters: a space is written %20")
    given: dict[str, str] = {}
    before, at, behind = rest.partition("@")
    if at and "/" not in before:
        user, _, password = before.partition(":")
        _store(given, user=user, password=password)
        rest = behind
    hosts, ports, rest = _places(rest)
    path, question, query = rest.partition("?")
    # libpq would take them, and tell everybody the rest of a password as the name of a host or a database.
    if "@" in "".join((*hosts, *ports, path)):
        raise BadUrl("must have one @, behind user and password: in these and in a name, @ is written %40 and / %2F")
    _store(given, host=",".join(hosts), port=",".join(ports))
    _store(given, dbname=path.removeprefix("/"))
    if question:
        given |= _parameters(query)
    return given


def _store(given: dict[str, str], **texts: str) -> None:
    for name, text in texts.items():
        if text:
            given[name] = _decoded(text, name)


def _decoded(text: str, name: str) -> str:
    try:
        return _percent_decoded(text)
    except UnicodeError:
        raise BadUrl(f"{name} must be UTF-8 text") from None
    except ValueError:
        raise BadUrl(f"{name} has a % without two digits of a byte behind it: a % itself is written %25") from None


def _percent_decoded(text: str) -> str:
    """`text` with its percent-encoding taken off; `ValueError` where that is broken, or gives NUL or no UTF-8.

    A plus sign is itself, as in libpq: only HTML forms write spaces so.
    """
    head, *rest = text.split("%")
    content = bytearray(head.encode())
    for part in rest:
        byte = bytes.fromhex(part[:2]) if len(part) > 1 and part[:2].isalnum() else b""
        if len(byte) != 1 or byte == b"\0":
            raise ValueError(text)
        content += byte + part[2:].encode()
    return content.decode()


def _places(rest: str) -> tuple[list[str], list[str], str]:
    """Hosts and ports in order, "" where one is left out, and what follows them."""
    hosts, ports = [], []
    while True:
        if rest.startswith("["):
            host, bracket, rest = rest[1:].partition("]")
            if not bracket or not host:
                raise BadUrl("host must end an IPv6 address by ]; a [ in a user's name or password ends before the @")
            if rest and rest[0] not in ":/?,":
                raise BadUrl("host must have nothing but a port behind the ] of an IPv6 address")
        else:
            host, rest = _until(rest, ":/?,")
        port = ""
        if rest.startswith(":"):
            port, rest = _until(rest[1:], "/?,")
        hosts.append(host)
        ports.append(port)
        if not rest.startswith(","):
            return hosts if len(hosts) > 1 or host else [], ports if len(ports) > 1 or port else [], rest
        rest = rest[1:]


def _until(text: str, ends: str) -> tuple[str, str]:
    place = next((place for place, char in enumerate(text) if char in ends), len(text))
    return text[:place], text[place:]


def _parameters(query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    pairs = query.removesuffix("&").split("&") if query else []
    for number, pair in enumerate(pairs, start=1):
        if pair.count("=") != 1:
            raise BadUrl(f"parameter {number} behind the ? must be NAME=VALUE; a & = in a value is written %26 %3D")
        name = _decoded(pair.partition("=")[0], f"the name of parameter {number} behind the ?")
        value = _decoded(pair.partition("=")[2], name if name in PARAMETERS else f"parameter {number} behind the ?")
        if (name, value) == ("ssl", "true"):  # JDBC's way to say it
            name, value = "sslmode", "require"
        if name == "requiressl":
            name, value = "sslmode", "require" if value.startswith("1") else "prefer"
        if name not in PARAMETERS:
            raise unknown(name, number)
        given[name] = value
    return given
