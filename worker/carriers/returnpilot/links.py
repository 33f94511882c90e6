"""Keeps the addresses of labels that an order has just shown, so that fetching one does not ask for the order again."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from worker.domain.returns import ReturnOrder

_LIFE = 300.0  # seconds; nothing documents how long an address works; a dead one costs one more request
_MOST_ORDERS = 1000
_MOST_CHARACTERS = 4096  # of an address; an order with a longer one is asked again


class Link(NamedTuple):
    """Where label number `position` is; `more`: another one is missing too."""

    position: int
    url: str
    more: bool


def next_link(order: ReturnOrder, urls: Mapping[int, str]) -> Link | None:
    """Where the label is that is to be fetched now, of those at `urls` by position; None when none is missing."""
    missing = [position for position in sorted(urls) if position not in order.labels]
    if not missing:
        return None
    position = missing[order.label_attempts % len(missing)]  # a dead one must not stand before the others
    return Link(position, urls[position], more=len(missing) > 1)


class ShownLinks:
    """Addresses out of documents that were checked to be their return's, each good for one use.

    An address is as good as a key: it is in memory only, for as long as labels take their turns after a poll.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was shown yet; `clock` counts seconds and is never set."""
        self._clock = clock
        self._shown: dict[str, tuple[float, dict[int, str]]] = {}  # by the carrier's number, shown longest ago first

    def keep(self, order: ReturnOrder, urls: Mapping[int, str]) -> None:
        """Note what `order` has just shown, by the labels' positions; what is stored already is not needed."""
        number, now = order.carrier_ref or "", self._clock()
        urls = {position: url for position, url in urls.items() if position not in order.labels}
        self._shown.pop(number, None)
        if any(len(url) > _MOST_CHARACTERS for url in urls.values()):
            return
        self._shown[number] = now, urls
        while len(self._shown) > _MOST_ORDERS or now - next(iter(self._shown.values()))[0] > _LIFE:
            del self._shown[next(iter(self._shown))]

    def take(self, order: ReturnOrder) -> Link | None:
        """An address of one of the labels that are missing, once; None: the order has to be asked for."""
        now = self._clock()
        shown_at, urls = self._shown.pop(order.carrier_ref or "", (now, {}))
        if now - shown_at > _LIFE or (link := next_link(order, urls)) is None:
            return None
        if link.more:
            left = {each: url for each, url in urls.items() if each not in (link.position, *order.labels)}
            self._shown[order.carrier_ref or ""] = shown_at, left
        return link
