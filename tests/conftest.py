"""Fixtures that every part of the suite may use."""

from tests.pgbouncer import pgbouncer
from tests.postgres import postgres_server, postgres_url

__all__ = ["pgbouncer", "postgres_server", "postgres_url"]
