"""A migrated database of either kind."""

from tests.engine.conftest import database

__all__ = ["database"]
