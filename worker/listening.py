"""Where the worker listens, by file and environment alone: a health check needs no other setting, and no models."""

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

PREFIX = "RETURNS_WORKER_"
FILE_VARIABLE = "RETURNS_WORKER_CONFIG"
DEFAULT_FILE = Path("returns-worker.toml")
DEFAULT_LISTEN = "127.0.0.1:9464"

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")


def configuration_file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file in force: the named one, else RETURNS_WORKER_CONFIG, else returns-worker.toml if there is one."""
    named = named or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    return named or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)


def keys_of_variables(environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Each variable that may name a setting, by the setting's place; of several for one place the last by name."""
    names = sorted(name for name in environ if name.startswith(PREFIX))
    return {tuple(name.removeprefix(PREFIX).lower().split("__")): name for name in names}


def read_listen(named: Path | None, environ: Mapping[str, str]) -> tuple[str, int]:
    """Host and port of `http.listen`, as `worker.settings` reads it where it is plainly given.

    Raises ValueError or OSError where it is not: then the whole configuration has to be read, which says what is wrong.
    """
    variables = keys_of_variables(environ)
    if ("http",) in variables:
        raise ValueError("the table comes from the environment")
    if ("http", "listen") in variables:
        return split_listen(environ[variables["http", "listen"]])
    file = configuration_file(named, environ)
    table = tomllib.loads(file.read_bytes().decode("utf-8-sig")).get("http", {}) if file else {}
    return split_listen(str(table.get("listen", DEFAULT_LISTEN) if isinstance(table, dict) else table))


def check_host(host: str) -> str:
    """Accept a host name or an IP address alone; return it in lower case."""
    name = host.strip().lower()
    bare = name.removeprefix("[").removesuffix("]")
    if _HOST_NAME.fullmatch(name) and len(name) <= 253:
        return name.removesuffix(".")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        raise ValueError("must be a host name or an IP address alone, without scheme, port and path") from None


def split_listen(listen: str) -> tuple[str, int]:
    """Split "127.0.0.1:9464" or "[::1]:9464" into host and port; raises ValueError saying what is allowed."""
    host, colon, port = listen.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed):
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:9464, 0.0.0.0:9464 or [::1]:9464")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError("must end in a port from 0 (any free one) to 65535")
    return check_host(host), int(port)
