"""What can go wrong in a label store.

LabelStoreError      the store cannot be used now: full, read-only, unreachable, a package not installed
└── LabelMissing     the store works; this label is not in it
"""


class LabelStoreError(Exception):
    """The label store cannot be used; the message says where, why, and where possible what to do."""


class LabelMissing(LabelStoreError):
    """The store holds no label at this location."""
