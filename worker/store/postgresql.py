"""Connects to PostgreSQL: the driver, what it is told, and the pool of connections."""

import random
import secrets
import socket
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from worker.dsn import PostgresqlUrl, Tls, password_of, tls_context
from worker.store.columns import read_document
from worker.store.search_path import connected

COMMAND_TIMEOUT = 20.0  # seconds; a half-open connection would otherwise hold a worker for ever
_CONNECT_TIMEOUT = 10.0
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}  # seconds, seconds, times; see tcp(7)
_HERE = ("/run/postgresql", "/var/run/postgresql", "/tmp", "localhost")  # noqa: S108  where servers make their sockets


def connect_timeout(url: PostgresqlUrl) -> float:
    """Seconds after which there is a connection or none will come."""
    return float(url.connect_timeout or _CONNECT_TIMEOUT)


def connecting(url: PostgresqlUrl) -> dict[str, Any]:
    """What the driver is told for one connection, with the files of certificates and passwords as they are now.

    Everything is told, so that the driver looks for nothing by rules of its own. Raises `BadUrl`.
    """
    servers = random.sample(url.servers, len(url.servers)) if url.in_any_order else url.servers
    places = [(place, each.port) for each in servers for place in ((each.address,) if each.address else _HERE)]
    # These settings travel with the connection's first packet, and PgBouncer sets the first two wherever a transaction
    # lands (https://www.pgbouncer.org/config.html, ignore_startup_parameters).
    settings = {"application_name": url.application_name or "returns-worker", "timezone": "UTC"}
    return {
        "host": [host for host, _ in places],
        "port": [port for _, port in places],
        "user": url.user,
        "password": password_of(url) or "",
        "database": url.database,
        "target_session_attrs": url.target_session_attrs,
        "krbsrvname": url.kerberos_name or "postgres",
        "gsslib": "gssapi",
        "direct_tls": url.tls.direct,
        "timeout": connect_timeout(url),
        "command_timeout": COMMAND_TIMEOUT,
        "server_settings": settings | ({"options": url.options} if url.options else {}),
        **_encryption(url),
    }


def postgresql_engine(
    current: Callable[[], PostgresqlUrl],
    pool_size: int,
    pooler: bool,
    schema: str | None,
    command_timeout: float | None = COMMAND_TIMEOUT,
) -> AsyncEngine:
    """A pool of `pool_size` connections; with `pooler`, each transaction may reach another server connection.

    Each new connection is made by the URL that is `current` then. `schema` is where our tables are, as in
    `search_path.connected`. `command_timeout` is in seconds; without one only the kernel notices that the other end is
    gone.
    """
    told: dict[str, Any] = {
        "prepared_statement_name_func": _statement_names(),
        "async_creator_fn": partial(connected, schema, pooler),
    }
    if pooler:
        # No statement is kept (https://magicstack.github.io/asyncpg/current/faq.html), and one without a name is sent
        # once more together with its values (https://github.com/MagicStack/asyncpg/pull/1065).
        told |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        }
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=told,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=COMMAND_TIMEOUT,
        hide_parameters=True,  # an error must not quote a customer
        json_deserializer=read_document,
    )
    if command_timeout is None:
        event.listen(engine.sync_engine, "connect", _keep_alive)

    @event.listens_for(engine.sync_engine, "do_connect")
    def _tell(_dialect: object, _record: object, _words: object, told: dict[str, Any]) -> None:
        told |= connecting(current()) | {"command_timeout": command_timeout}
        if command_timeout is not None and command_timeout < COMMAND_TIMEOUT and not pooler:
            # The driver has a statement called off; the server ends it where that does not reach it. A pooler refuses
            # this setting (https://www.pgbouncer.org/config.html, ignore_startup_parameters).
            told["server_settings"] |= {"statement_timeout": f"{command_timeout * 1000:.0f}"}

    return engine


def _keep_alive(connection: Any, _record: object) -> None:
    """Have the kernel ask the other end, which also keeps firewalls from forgetting a connection that waits."""
    end = connection.driver_connection._transport.get_extra_info("socket")  # the driver has no setting for it
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if end.family != socket.AF_UNIX:
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):  # macOS has another name for the first one
                end.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _encryption(url: PostgresqlUrl) -> dict[str, Any]:
    """Only by a URL can the driver be told to do without encryption where there is none; its files go there as well."""
    if url.tls.is_certain:
        return {"ssl": tls_context(url)}
    if url.tls.mode == "disable":
        return {"ssl": False}
    return {"dsn": f"postgresql://?{urlencode(_of_the_driver(url.tls), quote_via=quote)}"}


def _of_the_driver(tls: Tls) -> dict[str, str]:
    given = {
        "sslmode": tls.mode,
        "sslcert": tls.certificate,
        "sslkey": tls.key,
        "sslpassword": tls.password,
        "ssl_min_protocol_version": _version(tls.lowest),
        "ssl_max_protocol_version": _version(tls.highest),
    }
    return {name: value for name, value in given.items() if value}


def _version(lower: str | None) -> str | None:
    return lower and lower.replace("tls", "TLS")


def _statement_names() -> Callable[[], str]:
    """The driver counts from 1 in each process, and behind a pooler would run another process' statement instead."""
    mine, numbers = secrets.token_hex(8), count(1)
    return lambda: f"returns_worker_{mine}_{next(numbers)}"
