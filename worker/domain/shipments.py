"""Rolls the shipments of one order up to the order's tracking status, and says when no more is to come."""

from collections.abc import Sequence

from worker.domain.tracking import TrackingStatus


def order_status(statuses: Sequence[TrackingStatus], *, all_returned: bool, link_over: bool) -> TrackingStatus:
    """Where an order is whose shipments appear as the customer schedules them.

    It is terminal only when nothing more can come: `all_returned`, every item is in a shipment, or `link_over`, the
    customer's link has run out. A shipment whose label was refunded (cancelled) may be scheduled anew until then.
    """
    if not statuses:
        return TrackingStatus.EXPIRED if link_over else TrackingStatus.PENDING
    status = _rolled_up(statuses)
    if not status.is_terminal or link_over:
        return status
    # Nothing is under way, and the customer may still schedule more: that can take as long as his link is open.
    complete = all_returned and status is not TrackingStatus.CANCELLED
    return status if complete else TrackingStatus.PENDING


def _rolled_up(statuses: Sequence[TrackingStatus]) -> TrackingStatus:
    """One status for several shipments; cancelled ones count only where there is nothing else."""
    kinds = {status for status in statuses if status is not TrackingStatus.CANCELLED}
    if not kinds:
        return TrackingStatus.CANCELLED
    for decisive in (TrackingStatus.UNKNOWN, TrackingStatus.IN_TRANSIT):
        if decisive in kinds:
            return decisive
    if all(kind.is_terminal for kind in kinds):
        return TrackingStatus.FAILED if TrackingStatus.FAILED in kinds else TrackingStatus.DELIVERED
    if any(kind.is_terminal for kind in kinds):
        return TrackingStatus.IN_TRANSIT
    return TrackingStatus.PRE_TRANSIT if TrackingStatus.PRE_TRANSIT in kinds else TrackingStatus.PENDING
