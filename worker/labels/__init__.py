"""Label files: outside bytes are checked (`verify`), then kept where the shop can find them (`store`), or `aside`."""

from worker.labels.aside import as_it_is
from worker.labels.errors import NotALabel
from worker.labels.store import (
    FileLabelStore,
    LabelMissing,
    LabelName,
    LabelStore,
    LabelStoreAway,
    LabelStoreError,
    LabelStoreUnusable,
    open_label_store,
)
from worker.labels.verify import VerifiedLabel, media_type_of, verify_label, verify_pdf

__all__ = [
    "FileLabelStore",
    "LabelMissing",
    "LabelName",
    "LabelStore",
    "LabelStoreAway",
    "LabelStoreError",
    "LabelStoreUnusable",
    "NotALabel",
    "VerifiedLabel",
    "as_it_is",
    "media_type_of",
    "open_label_store",
    "verify_label",
    "verify_pdf",
]
