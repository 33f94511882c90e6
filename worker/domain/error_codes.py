"""The closed list of `error_code` values; docs/reference/error-codes.md says what each means, and who does what."""

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
