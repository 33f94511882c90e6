"""Runs migrations on the connection that `worker.store.schema` hands over; there is no other way in."""

from alembic import context
from sqlmodel import SQLModel

from worker.store import news_tables, tables  # noqa: F401  registers the tables for comparison
from worker.store.version import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    compare_type=True,
    version_table=VERSION_TABLE,
)
context.run_migrations()
