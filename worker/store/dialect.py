"""Which of the two databases it is, and what SQL says differently on each."""

from typing import Final

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"

NOW: Final = {POSTGRESQL: "now()", SQLITE: "strftime('%Y-%m-%d %H:%M:%f', 'now')"}
"""The database's own time, as SQL."""
