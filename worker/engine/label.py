"""Fetches a label, verifies it and stores it; only then is there a label. One that is refused is kept aside."""

import structlog

from worker.carriers.port import Carrier, CarrierError, LabelDocument, LabelNotReady, LabelUnreachable
from worker.domain.error_codes import ErrorCode
from worker.domain.outcomes import Failed, LabelReady, LabelTrouble, Outcome, StoredLabel
from worker.domain.returns import ReturnOrder
from worker.labels import LabelName, LabelStore, LabelStoreError, NotALabel, VerifiedLabel, verify_label

log = structlog.get_logger()


async def fetch_label(order: ReturnOrder, carrier: Carrier, store: LabelStore) -> Outcome:
    """`LabelReady`, or what stands in the way of the label; the return itself goes on in any case."""
    document = await ask_for_label(order, carrier)
    if not isinstance(document, LabelDocument):
        return document
    try:
        label = await _verified(document)
        location = await store.put(name_of(order, document.position), label)
    except NotALabel as error:
        await keep_aside(order, document, store)
        return LabelTrouble(ErrorCode.LABEL_UNUSABLE, str(error))
    except (LabelStoreError, OSError) as error:  # OSError: the checking process cannot be started on this machine
        return LabelTrouble(ErrorCode.LABEL_NOT_STORED, str(error))
    if order.label_attempts:  # else none was refused before
        await forget_aside(order, document.position, store)
    return LabelReady(stored(document.position, location, label), document.more)


async def ask_for_label(order: ReturnOrder, carrier: Carrier) -> LabelDocument | Failed | LabelTrouble:
    """What the carrier sends as label, not verified; or why nothing came."""
    try:
        return await carrier.label(order)
    except CarrierError as error:
        return error.failed
    except LabelNotReady as error:
        return LabelTrouble(ErrorCode.LABEL_NOT_READY, str(error))
    except LabelUnreachable as error:
        return LabelTrouble(ErrorCode.LABEL_UNREACHABLE, str(error))


async def refusal_of(document: LabelDocument) -> str | None:
    """Why the document would not be stored; None: it would."""
    try:
        await _verified(document)
    except (NotALabel, OSError) as error:
        return str(error)
    return None


async def keep_aside(order: ReturnOrder, document: LabelDocument, store: LabelStore) -> bool:
    """Keep what came for a person to look at, or to accept; whether it is kept. A store that fails is logged."""
    if not document.content:
        return False
    try:
        await store.keep_aside(name_of(order, document.position), document.content)
    except LabelStoreError as error:
        _tell("refused_label_not_kept", order, error)
        return False
    return True


async def forget_aside(order: ReturnOrder, position: int, store: LabelStore) -> None:
    """There is a label now: what was kept in its place goes. A store that fails is logged, and tidied later."""
    try:
        await store.forget_aside(name_of(order, position))
    except LabelStoreError as error:
        _tell("refused_label_not_forgotten", order, error)


def name_of(order: ReturnOrder, position: int) -> LabelName:
    """What the label store calls it."""
    return LabelName(order.account, order.carrier_ref or "", position)


def stored(position: int, location: str, label: VerifiedLabel) -> StoredLabel:
    """The row of `label` for what lies in the store."""
    return StoredLabel(position, location, label.media_type, label.byte_count, label.page_count, label.sha256)


async def _verified(document: LabelDocument) -> VerifiedLabel:
    return await verify_label(document.content, pages=document.pages, media_types=document.media_types)


def _tell(event: str, order: ReturnOrder, error: LabelStoreError) -> None:
    log.warning(event, order_id=order.id, reference=order.reference, account=order.account, error=str(error))
