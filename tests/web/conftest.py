"""A migrated database of either kind, and a shop's own connection to it."""

from tests.engine.conftest import database, shop

__all__ = ["database", "shop"]
