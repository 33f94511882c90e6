"""The closed list of `error_code` values: why a return is rejected, needs attention, or is being tried again."""

from collections.abc import Mapping
from enum import StrEnum


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

MEANING: Mapping[ErrorCode, str] = {
    ErrorCode.INVALID_PAYLOAD: "the payload breaks a rule; every wrong path is named; nothing was sent",
    ErrorCode.CARRIER_REFUSED: "the carrier refused the request (400, 422) and said why; nothing exists there",
    ErrorCode.CREATE_OUTCOME_UNKNOWN: "a creation was sent and its answer lost or unreadable: look at the carrier's;"
    " while still `pending` the worker looks itself",
    ErrorCode.CARRIER_REF_TAKEN: "the carrier answered a creation with a number that another return already has",
    ErrorCode.REFERENCE_NOT_UNIQUE: "a lost creation was looked up, and what the carrier shows may be it, but not"
    " surely: several orders, an older one, one whose reference is alike, one of the same customer, one of another"
    " account's",
    ErrorCode.WORKER_CRASHED: "five claims in a row ended without a result: something about this row kills its workers",
    ErrorCode.UNREADABLE_ROW: "the row cannot be read: its payload is too large, or something in it is no value that we"
    " know; nothing was sent for it",
    ErrorCode.CARRIER_UNREACHABLE: "no connection to the carrier, or an address that takes no creations; nothing was"
    " sent",
    ErrorCode.CARRIER_ERROR: "the carrier answered with a server error, or a question with something that is not JSON",
    ErrorCode.CARRIER_TIMEOUT: "the carrier did not answer in time",
    ErrorCode.CARRIER_BUSY: "the carrier asked to wait (429, or 503 with Retry-After)",
    ErrorCode.CARRIER_KEY_REFUSED: "the carrier refused the key (401, 403); the whole account waits",
    ErrorCode.CARRIER_LOST_IT: "the carrier says it does not know this return (404)",
    ErrorCode.UNINTELLIGIBLE_ANSWER: "the carrier's answer has not the documented shape, or is about another return",
    ErrorCode.LABEL_NOT_READY: "the carrier has no label for this return yet",
    ErrorCode.LABEL_UNREACHABLE: "the label's address is dead, gives no answer, or is one that may not be asked",
    ErrorCode.LABEL_UNUSABLE: "what the carrier sent as label is no whole PDF (PNG, ZPL) of the right length",
    ErrorCode.LABEL_NOT_STORED: "the label is good but the label store could not take it",
}
"""One line an operator understands, for each code; the documentation repeats it and a test compares them."""
