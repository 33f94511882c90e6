"""Runs the migrations; the only place that knows Alembic, besides the migrations themselves."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection, migrations: Path, revision: str) -> None:
    """Bring the database up to this revision, within the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
