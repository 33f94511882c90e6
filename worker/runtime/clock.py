"""The clock that leases are measured by."""

import time


def lease_clock() -> float:
    """Seconds that go on while the machine is suspended, since its leases run out meanwhile.

    CLOCK_BOOTTIME is Linux's; elsewhere the monotonic clock has to do.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
