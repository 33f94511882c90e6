"""Connects to PostgreSQL: the driver, what it is told, and the pool of connections."""

import secrets
import socket
from collections.abc import Callable
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from worker.store.columns import read_document

COMMAND_TIMEOUT = 20.0  # seconds; a half-open connection would otherwise hold a worker for ever
_CONNECT_TIMEOUT = 10.0
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}  # seconds, seconds, times; see tcp(7)
_CLIENT_ONLY = {"channel_binding", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval"} | {
    "keepalives_count",
    "tcp_user_timeout",
    "client_encoding",
    "fallback_application_name",
}  # libpq parameters without meaning for this driver, which would send them to the server


def connecting(url: str) -> dict[str, Any]:
    """What the driver is told for one connection."""
    dsn, parameters = _without_client_only(url), dict(parse_qsl(urlsplit(url).query))
    seconds = parameters.get("connect_timeout", "")
    timeout = float(seconds) if seconds.isdecimal() and int(seconds) else _CONNECT_TIMEOUT
    name = parameters.get("application_name", "returns-worker")
    # These two settings travel with the connection's first packet, and PgBouncer sets them wherever a transaction lands
    # (https://www.pgbouncer.org/config.html, ignore_startup_parameters).
    return {
        "dsn": dsn,
        "timeout": timeout,
        "command_timeout": COMMAND_TIMEOUT,
        "server_settings": {"application_name": name, "timezone": "UTC"},
    }


def postgresql_engine(
    url: str, pool_size: int, pooler: bool, command_timeout: float | None = COMMAND_TIMEOUT
) -> AsyncEngine:
    """A pool of `pool_size` connections; with `pooler`, each transaction may reach another server connection.

    `command_timeout` is in seconds; without one only the kernel notices that the other end is gone.
    """
    told = connecting(url) | {"prepared_statement_name_func": _statement_names(), "command_timeout": command_timeout}
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
    return engine


def _keep_alive(connection: Any, _record: object) -> None:
    """Have the kernel ask the other end, which also keeps firewalls from forgetting a connection that waits."""
    end = connection.driver_connection._transport.get_extra_info("socket")  # the driver has no setting for it
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if end.family != socket.AF_UNIX:
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):  # macOS has another name for the first one
                end.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _statement_names() -> Callable[[], str]:
    """The driver counts from 1 in each process, and behind a pooler would run another process' statement instead."""
    mine, numbers = secrets.token_hex(8), count(1)
    return lambda: f"returns_worker_{mine}_{next(numbers)}"


def _without_client_only(url: str) -> str:
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key not in _CLIENT_ONLY | {"connect_timeout"}]
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(query)))
