"""Label files: outside bytes are checked (`verify`), then kept where the shop can find them (`store`)."""

from worker.labels.errors import LabelMissing, LabelStoreAway, LabelStoreError, LabelStoreUnusable, NotALabel
from worker.labels.files import FileLabelStore
from worker.labels.names import LabelName
from worker.labels.store import LabelStore, open_label_store
from worker.labels.verify import VerifiedLabel, as_it_is, media_type_of, verify_label

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
]
