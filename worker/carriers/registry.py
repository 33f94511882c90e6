"""Which carriers there are, and how an account at one of them is opened, each by its name in `carrier_names`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from worker.carriers import izipack
from worker.carriers.http.edge import HttpEdge, Observer
from worker.carriers.http.replies import Reply
from worker.carriers.http.transport import AiohttpTransport, Transport
from worker.carriers.port import Carrier, Listing, Pacer, Searchable, Unpaced, utc_now
from worker.carriers.returnpilot import adapter as returnpilot
from worker.carriers.returnpilot import answers as returnpilot_answers
from worker.domain.outcomes import Created
from worker.domain.payload import receiver_problems
from worker.domain.tracking import StatusMap, TrackingStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    """What an adapter is told of its account; times are in seconds, sizes in bytes."""

    carrier: str
    key: Callable[[], str]
    base_url: str | None = None
    timeout: float = 20.0
    proxy: str | None = None
    ca_file: str | None = None
    label_hosts: tuple[str, ...] = ()
    label_pages: str = "documented"
    max_label_bytes: int = 20_000_000
    receiver: Mapping[str, Any] | None = None
    status_map: Mapping[str, TrackingStatus] = field(default_factory=dict)
    reject_past_pickup: bool = False
    link_grace: timedelta = timedelta(hours=24)
    clock: Callable[[], datetime | None] = utc_now


@dataclass(frozen=True, slots=True)
class CarrierKind:
    """One carrier's defaults and how to open an account there; `operations` are those its requests are counted by.

    `is_number`: whether a text could be a number of its orders. `words`: the words of its that a recorded
    `carrier_status` is made of; `meanings`: every tracking status that one may stand for. `created`: its documented
    answer to a creation, as the adapter reads it. `page_size`: returns on a page of its list. `open_ended`: the
    statuses in which a return waits for its customer's link to be used, however long that is open. `receiver_problems`:
    what is wrong with an account's receiver.
    """

    base_url: str
    operations: tuple[str, ...]
    statuses: StatusMap
    authorization: Callable[[str], Mapping[str, str]]
    is_number: Callable[[str], bool]
    words: Callable[[str], Sequence[str]]
    meanings: Callable[[str, StatusMap], frozenset[TrackingStatus]]
    adapter: type[Carrier]
    open: Callable[[AccountConfig, HttpEdge, StatusMap], Carrier]
    created: Created
    page_size: int = 1
    open_ended: frozenset[TrackingStatus] = frozenset()
    receiver_problems: Callable[[Mapping[str, Any]], Sequence[str]] = receiver_problems


def _open_izipack(config: AccountConfig, edge: HttpEdge, statuses: StatusMap) -> Carrier:
    return izipack.Izipack(
        edge,
        statuses,
        config.receiver,
        config.reject_past_pickup,
        max_label_bytes=config.max_label_bytes,
        any_label_pages=config.label_pages == "any",
    )


def _open_returnpilot(config: AccountConfig, edge: HttpEdge, statuses: StatusMap) -> Carrier:
    return returnpilot.ReturnPilot(
        edge,
        statuses,
        label_hosts=config.label_hosts,
        max_label_bytes=config.max_label_bytes,
        link_grace=config.link_grace,
        clock=config.clock,
    )


CARRIERS: Mapping[str, CarrierKind] = {
    "izipack": CarrierKind(
        izipack.BASE_URL,
        izipack.OPERATIONS,
        izipack.BUILT_IN_STATUSES,
        izipack.authorization,
        izipack.is_number,
        izipack.words,
        izipack.meanings,
        izipack.Izipack,
        _open_izipack,
        izipack.read_created(Reply(201, {}, izipack.SAMPLE_CREATED)),
        receiver_problems=izipack.receiver_problems,
    ),
    "returnpilot": CarrierKind(
        returnpilot.BASE_URL,
        returnpilot.OPERATIONS,
        returnpilot.BUILT_IN_STATUSES,
        returnpilot.authorization,
        returnpilot.is_number,
        returnpilot_answers.words,
        returnpilot_answers.meanings,
        returnpilot.ReturnPilot,
        _open_returnpilot,
        returnpilot_answers.read_created(Reply(201, {}, returnpilot_answers.SAMPLE_CREATED)),
        page_size=returnpilot.PAGE_SIZE,
        open_ended=returnpilot_answers.OPEN_ENDED,
    ),
}


def statuses_of(carrier: str, status_map: Mapping[str, TrackingStatus]) -> StatusMap:
    """How an account there reads the carrier's words: `status_map` adds to and overrides what is built in."""
    return CARRIERS[carrier].statuses.overridden_by(status_map)


def is_searchable(carrier: str) -> bool:
    """Whether a creation without an answer can be looked up there."""
    return issubclass(CARRIERS[carrier].adapter, Searchable)


def is_listing(carrier: str) -> bool:
    """Whether one request there can bring the news of many returns."""
    return issubclass(CARRIERS[carrier].adapter, Listing)


def returns_per_request(carrier: str) -> int:
    """How many returns one request can follow there, when many are due: one unless it lists them."""
    return CARRIERS[carrier].page_size if is_listing(carrier) else 1


def open_carrier(
    config: AccountConfig,
    observe: Observer,
    transport: Transport | None = None,
    pacer: Pacer | None = None,
) -> Carrier:
    """An adapter for one account; opens no connection yet. `KeyError` for a carrier that is not in `CARRIERS`."""
    kind = CARRIERS[config.carrier]
    if transport is None:
        transport = AiohttpTransport(timeout=config.timeout, proxy=config.proxy, ca_file=config.ca_file)
    base_url, pacer = config.base_url or kind.base_url, pacer or Unpaced()
    edge = HttpEdge(base_url, transport, kind.authorization, config.key, observe, pacer, config.proxy)
    return kind.open(config, edge, statuses_of(config.carrier, config.status_map))
