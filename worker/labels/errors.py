"""What can go wrong with a label: with its bytes, or with the store that is to keep it.

NotALabel               the bytes are not a label that may be stored
LabelStoreError         the store cannot be used now: full, read-only, unreachable, a package not installed
├── LabelStoreAway      it does not answer, or not now: that may end by itself
├── LabelStoreUnusable  it cannot be opened as it is configured: waiting changes nothing
└── LabelMissing        the store works; this label is not in it
"""

REASON_LIMIT = 200
"""Longest `NotALabel.reason`, in characters."""


class NotALabel(Exception):
    """The bytes are not a label that may be stored.

    `reason` is one short sentence for the operator. It holds no byte of the content and no message of
    pypdf's (which quotes the file), so no customer data either; at most `REASON_LIMIT` characters.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason[:REASON_LIMIT]
        super().__init__(self.reason)


class LabelStoreError(Exception):
    """The label store cannot be used; the message says where, why, and where possible what to do."""


class LabelStoreAway(LabelStoreError):
    """The store does not answer, or fails in a way that may end by itself: no setting need be wrong."""


class LabelStoreUnusable(LabelStoreError):
    """The settings or the environment name a store that cannot be opened, or a package is missing."""


class LabelMissing(LabelStoreError):
    """The store holds no label at this location."""
