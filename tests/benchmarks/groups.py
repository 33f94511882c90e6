"""Every group of figures, in the order of the table."""

from tests.benchmarks.claims import claim_size, claim_snapshot
from tests.benchmarks.creations import cpu_per_creation
from tests.benchmarks.databases import POSTGRESQL, SQLITE
from tests.benchmarks.figure import Group
from tests.benchmarks.idle import idle
from tests.benchmarks.memory import memory
from tests.benchmarks.polls import cpu_per_poll
from tests.benchmarks.start import start
from tests.benchmarks.throughput import delay, pages, processes

GROUPS: tuple[Group, ...] = (
    cpu_per_poll(POSTGRESQL),
    cpu_per_poll(SQLITE),
    cpu_per_creation(),
    claim_size(),
    claim_snapshot(),
    memory(),
    idle(),
    delay(),
    processes(),
    pages(),
    start(),
)
