"""Every group of figures, in the order of the table."""

from tests.benchmarks.claims import claim_size, claim_snapshot
from tests.benchmarks.databases import POSTGRESQL, SQLITE
from tests.benchmarks.figure import Group
from tests.benchmarks.idle import idle
from tests.benchmarks.polls import cpu_per_poll
from tests.benchmarks.start import start

GROUPS: tuple[Group, ...] = (
    cpu_per_poll(POSTGRESQL),
    cpu_per_poll(SQLITE),
    claim_size(),
    claim_snapshot(),
    idle(),
    start(),
)
