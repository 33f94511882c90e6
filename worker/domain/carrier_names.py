"""The carriers that there are, by the names that settings give them, and how often each is asked."""

from collections.abc import Mapping
from types import MappingProxyType

RATES: Mapping[str, int] = MappingProxyType(
    {
        "izipack": 60,  # it publishes no limit; one request a second is what a polite client would send
        "returnpilot": 50,  # of the 60 it allows (page guide/concepts/rate-limiting), whose scope it does not say
    }
)
"""How many requests each takes in any 60 seconds, unless an account's settings say otherwise."""
