"""Connects to PostgreSQL: the driver, what it is told, and the pool of connections."""

import secrets
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from worker.store.columns import read_document
from worker.store.search_path import connected

COMMAND_TIMEOUT = 20.0  # seconds; a half-open connection would otherwise hold a worker for ever
_CONNECT_TIMEOUT = 10.0
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


def postgresql_engine(url: str, pool_size: int, pooler: bool, schema: str | None) -> AsyncEngine:
    """A pool of `pool_size` connections; with `pooler`, each transaction may reach another server connection.

    `schema` is where our tables are, as in `search_path.connected`.
    """
    told = connecting(url) | {
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
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args=told,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=COMMAND_TIMEOUT,
        hide_parameters=True,  # an error must not quote a customer
        json_deserializer=read_document,
    )


def _statement_names() -> Callable[[], str]:
    """The driver counts from 1 in each process, and behind a pooler would run another process' statement instead."""
    mine, numbers = secrets.token_hex(8), count(1)
    return lambda: f"returns_worker_{mine}_{next(numbers)}"


def _without_client_only(url: str) -> str:
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key not in _CLIENT_ONLY | {"connect_timeout"}]
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(query)))
