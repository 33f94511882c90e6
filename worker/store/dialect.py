"""Which of the two databases it is, and what SQL says differently on each."""

from typing import Final

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"

NOW: Final = {POSTGRESQL: "now()", SQLITE: "strftime('%Y-%m-%d %H:%M:%f', 'now')"}
"""The database's own time, as SQL."""

AMONG_IDS: Final = {  # an array: the planner cannot know how few they are, and would join with the whole table
    POSTGRESQL: "= ANY (ARRAY(SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:ids AS json)) value))",
    SQLITE: "IN (SELECT value FROM json_each(:ids))",
}
"""What a column that is one of `:ids`, a JSON list, is followed by."""
