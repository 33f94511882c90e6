"""The clock that leases are measured by."""

import sys
from pathlib import Path

import pytest

from worker.runtime.clock import lease_clock


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a clock that counts a suspended machine's time")
def test_time_that_the_machine_was_suspended_counts() -> None:
    before = lease_clock()
    # proc(5): the first number of /proc/uptime includes time spent in suspend
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert before - 0.1 <= uptime <= lease_clock() + 0.1
