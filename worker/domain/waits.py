"""What a return waits for where its own error code does not say it: its account, or a worker that serves it."""

from collections.abc import Mapping
from enum import StrEnum


class WaitsFor(StrEnum):
    """A value of `return_overview.waits_for`, in the order in which they are looked at: the first that is so is said.

    None stands for a return that waits for nothing but its own next moment, is over, or needs a person.
    """

    WORKER_ABSENT = "worker_absent"
    ACCOUNT_NOT_CONFIGURED = "account_not_configured"
    KEY_REFUSED = "key_refused"
    PAUSED_BY_PERSON = "paused_by_person"
    ACCOUNT_HELD = "account_held"
    CARRIER_FAILING = "carrier_failing"


REASON: Mapping[WaitsFor, str] = {
    WaitsFor.WORKER_ABSENT: "no worker lives: none was started, or the last one ended or was killed",
    WaitsFor.ACCOUNT_NOT_CONFIGURED: "workers live, and none of them has this account in its configuration",
    WaitsFor.KEY_REFUSED: "the carrier refused the account's key (401, 403): nothing is asked until it gets another"
    " one, or a person releases it",
    WaitsFor.PAUSED_BY_PERSON: "a person holds the account (or only its creations, if the return is not created yet)",
    WaitsFor.ACCOUNT_HELD: "the carrier asked the account to wait (429, 503), or its address takes no creations"
    " (if the return is not created yet)",
    WaitsFor.CARRIER_FAILING: "the carrier failed again and again and is left alone, or tried one at a time"
    " (or only its creations are, if the return is not created yet)",
}
"""One line for each, as a person understands it; the documentation repeats it and a test compares them."""
