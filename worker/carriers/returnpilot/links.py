"""Keeps the addresses of labels that an order has just shown, so that fetching one does not ask for the order again."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from worker.domain.returns import ReturnOrder

_LIFE = timedelta(minutes=5)  # nothing documents how long an address works; one that does not costs one request more
_MOST_ORDERS = 1000
_MOST_CHARACTERS = 4096  # of an address; an order with a longer one is asked again


class Link(NamedTuple):
    """Where label number `position` is; `more`: another one is missing too."""

    position: int
    url: str
    more: bool


class ShownLinks:
    """Addresses out of documents that were checked to be their return's, each good for one use.

    An address is as good as a key: it is in memory only, for as long as labels take their turns after a poll.
    """

    def __init__(self) -> None:
        """Nothing was shown yet."""
        self._shown: dict[str, tuple[datetime, dict[int, str]]] = {}  # by the carrier's number, shown longest ago first

    def keep(self, order: ReturnOrder, urls: Mapping[int, str], now: datetime) -> None:
        """Note what `order` has just shown, by the labels' positions."""
        number = order.carrier_ref or ""
        self._shown.pop(number, None)
        if any(len(url) > _MOST_CHARACTERS for url in urls.values()):
            return
        self._shown[number] = now, dict(urls)
        while len(self._shown) > _MOST_ORDERS or now - next(iter(self._shown.values()))[0] > _LIFE:
            del self._shown[next(iter(self._shown))]

    def take(self, order: ReturnOrder, now: datetime) -> Link | None:
        """An address of one of the labels that are missing, once; None: the order has to be asked for."""
        shown_at, urls = self._shown.pop(order.carrier_ref or "", (now, {}))
        missing = [position for position in sorted(urls) if position not in order.labels]
        if not missing or now - shown_at > _LIFE:
            return None
        position = missing[order.label_attempts % len(missing)]  # a dead one must not stand before the others
        rest = {each: urls[each] for each in missing if each != position}
        if rest:
            self._shown[order.carrier_ref or ""] = shown_at, rest
        return Link(position, urls[position], more=bool(rest))
