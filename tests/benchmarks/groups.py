"""Every group of figures, in the order of the table."""

from tests.benchmarks.databases import POSTGRESQL, SQLITE
from tests.benchmarks.figure import Group
from tests.benchmarks.polls import cpu_per_poll

GROUPS: tuple[Group, ...] = (
    cpu_per_poll(POSTGRESQL),
    cpu_per_poll(SQLITE),
)
