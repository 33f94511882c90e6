"""The closed list of `error_code` values; docs/reference/error-codes.md says what each means, and who does what."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class ErrorCode(StrEnum):
    """Why a return waits, for the person who acts: a value of `return_order.error_code` or `label_error_code`.

    It is no `FailureKind`, since many come from no call: a payload that breaks a rule, a row that kills its workers.
    """

    INVALID_PAYLOAD = "invalid_payload"
    CARRIER_REFUSED = "carrier_refused"
    CREATE_OUTCOME_UNKNOWN = "create_outcome_unknown"
    CARRIER_REF_TAKEN = "carrier_ref_taken"
    REFERENCE_NOT_UNIQUE = "reference_not_unique"
    WORKER_CRASHED = "worker_crashed"
    UNREADABLE_ROW = "unreadable_row"
    CARRIER_UNREACHABLE = "carrier_unreachable"
    CARRIER_ERROR = "carrier_error"
    CARRIER_TIMEOUT = "carrier_timeout"
    CARRIER_BUSY = "carrier_busy"
    CARRIER_KEY_REFUSED = "carrier_key_refused"
    CARRIER_LOST_IT = "carrier_lost_it"
    UNINTELLIGIBLE_ANSWER = "unintelligible_answer"
    LABEL_NOT_READY = "label_not_ready"
    LABEL_UNREACHABLE = "label_unreachable"
    LABEL_UNUSABLE = "label_unusable"
    LABEL_NOT_STORED = "label_not_stored"


IN_DOUBT = frozenset({ErrorCode.CREATE_OUTCOME_UNKNOWN, ErrorCode.CARRIER_REF_TAKEN, ErrorCode.REFERENCE_NOT_UNIQUE})
"""Codes of a return that may exist at the carrier without a number of ours."""

SET_ASIDE = frozenset({ErrorCode.WORKER_CRASHED, ErrorCode.UNREADABLE_ROW})
"""Codes of a label that is not sought any more before a person has looked."""


class WhoActs(StrEnum):
    """Who has to do something about an error code."""

    SHOP_DEVELOPER = "shop developer"
    OPERATOR = "operator"
    SUPPORT = "support"
    NOBODY = "nobody"  # it passes by itself


class Meaning(NamedTuple):
    """What an error code says to a person, and whose it is to act."""

    text: str
    who_acts: WhoActs


MEANING: Mapping[ErrorCode, Meaning] = {
    ErrorCode.INVALID_PAYLOAD: Meaning(
        "the payload breaks a rule; every wrong path is named; nothing was sent",
        WhoActs.SHOP_DEVELOPER,
    ),
    ErrorCode.CARRIER_REFUSED: Meaning(
        "the carrier refused the request (400, 422) and said why; nothing exists there",
        WhoActs.SHOP_DEVELOPER,
    ),
    ErrorCode.CREATE_OUTCOME_UNKNOWN: Meaning(
        "a creation was sent, and its answer is lost or cannot be read: see whether the carrier has it; while still"
        " pending the worker looks itself",
        WhoActs.SUPPORT,
    ),
    ErrorCode.CARRIER_REF_TAKEN: Meaning(
        "the carrier answered a creation with a number that another return already has; or a return is to be"
        " adopted under such a one",
        WhoActs.SUPPORT,
    ),
    ErrorCode.REFERENCE_NOT_UNIQUE: Meaning(
        "a lost creation was looked up, and what the carrier shows may be it, but not surely: several orders, an"
        " older one, one whose reference is alike, one of the same customer, one of another account's",
        WhoActs.SUPPORT,
    ),
    ErrorCode.WORKER_CRASHED: Meaning(
        "five claims in a row ended without a result: something about this row kills its workers",
        WhoActs.OPERATOR,
    ),
    ErrorCode.UNREADABLE_ROW: Meaning(
        "the row cannot be read: its payload is too large, or something in it is no value that we know; nothing"
        " was sent for it",
        WhoActs.OPERATOR,
    ),
    ErrorCode.CARRIER_UNREACHABLE: Meaning(
        "no connection to the carrier, or an address that takes no creations; nothing was sent",
        WhoActs.NOBODY,
    ),
    ErrorCode.CARRIER_ERROR: Meaning(
        "the carrier answered with a server error, or a question with something that is not JSON",
        WhoActs.NOBODY,
    ),
    ErrorCode.CARRIER_TIMEOUT: Meaning(
        "the carrier did not answer in time",
        WhoActs.NOBODY,
    ),
    ErrorCode.CARRIER_BUSY: Meaning(
        "the carrier asked to wait (429, or 503 with Retry-After)",
        WhoActs.NOBODY,
    ),
    ErrorCode.CARRIER_KEY_REFUSED: Meaning(
        "the carrier refused the key (401, 403); the whole account waits",
        WhoActs.OPERATOR,
    ),
    ErrorCode.CARRIER_LOST_IT: Meaning(
        "the carrier says it does not know this return (404), or the number that it is to be adopted under",
        WhoActs.SUPPORT,
    ),
    ErrorCode.UNINTELLIGIBLE_ANSWER: Meaning(
        "the carrier's answer has not the documented shape, or is about another return",
        WhoActs.OPERATOR,
    ),
    ErrorCode.LABEL_NOT_READY: Meaning(
        "the carrier has no label for this return yet",
        WhoActs.NOBODY,
    ),
    ErrorCode.LABEL_UNREACHABLE: Meaning(
        "the label's address is dead, gives no answer, or is one that may not be asked",
        WhoActs.OPERATOR,
    ),
    ErrorCode.LABEL_UNUSABLE: Meaning(
        "what the carrier sent as label is no whole PDF (PNG, ZPL) of the right length",
        WhoActs.SUPPORT,
    ),
    ErrorCode.LABEL_NOT_STORED: Meaning(
        "the label is good but the label store could not take it",
        WhoActs.OPERATOR,
    ),
}
"""One for each code, as docs/reference/error-codes.md repeats it; a test compares them."""
