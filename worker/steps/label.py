"""Fetches a label, verifies it and stores it; only then is there a label."""

from worker.carriers.port import Carrier, CarrierError, LabelNotReady, LabelUnreachable
from worker.domain.errors import ErrorCode
from worker.domain.outcomes import Failed, LabelReady, LabelTrouble, Outcome, StoredLabel
from worker.domain.returns import ReturnOrder
from worker.labels import LabelName, LabelStore, LabelStoreError, NotALabel, verify_label


async def fetch_label(order: ReturnOrder, carrier: Carrier, store: LabelStore) -> Outcome:
    """`LabelReady`, or what stands in the way; none of it is the return's own trouble."""
    try:
        document = await carrier.label(order)
        label = await verify_label(document.content, pages=document.pages, media_types=document.media_types)
        name = LabelName(order.account, order.carrier_ref or "", document.position)
        location = await store.put(name, label)
    except CarrierError as error:
        return Failed(error.kind, error.message, error.retry_after, error.raw)
    except LabelNotReady as error:
        return LabelTrouble(ErrorCode.LABEL_NOT_READY, str(error))
    except LabelUnreachable as error:
        return LabelTrouble(ErrorCode.LABEL_UNREACHABLE, str(error))
    except NotALabel as error:
        return LabelTrouble(ErrorCode.LABEL_UNUSABLE, str(error))
    except (LabelStoreError, OSError) as error:  # OSError: the checking process cannot be started on this machine
        return LabelTrouble(ErrorCode.LABEL_NOT_STORED, str(error))
    stored = StoredLabel(
        document.position, location, label.media_type, label.byte_count, label.page_count, label.sha256
    )
    return LabelReady(stored, document.more)
