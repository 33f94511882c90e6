"""ReturnPilot: an order is made, the customer is mailed a link, and shipments appear when he schedules the return.

Source: ReturnPilot's developer portal (developers.returnpilot.co, 2025-07-28). It documents no idempotency key, no
filter of the list, no webhooks and no test mode: every creation mails a real person, and one whose answer was lost is
looked up in the list by its reference.
"""

from worker.carriers.returnpilot.adapter import (
    BASE_URL,
    BUILT_IN_STATUSES,
    OPERATIONS,
    PAGE_SIZE,
    ReturnPilot,
    authorization,
    is_number,
)
from worker.carriers.returnpilot.answers import OPEN_ENDED, SAMPLE_CREATED, meanings, read_created, words

__all__ = [
    "BASE_URL",
    "BUILT_IN_STATUSES",
    "OPEN_ENDED",
    "OPERATIONS",
    "PAGE_SIZE",
    "SAMPLE_CREATED",
    "ReturnPilot",
    "authorization",
    "is_number",
    "meanings",
    "read_created",
    "words",
]
