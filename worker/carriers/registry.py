"""Which carriers there are, and how an account at one of them is opened, each by its name in `worker.domain.pacing`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from worker.carriers import izipack
from worker.carriers.edge import HttpEdge, Observer
from worker.carriers.port import Cancelling, Carrier, Listing, Pacer, Searchable, Unpaced, utc_now
from worker.carriers.replies import Reply
from worker.carriers.returnpilot import adapter as returnpilot
from worker.carriers.returnpilot import answers as returnpilot_answers
from worker.domain.outcomes import Created
from worker.domain.payload import receiver_problems
from worker.domain.tracking import StatusMap, TrackingStatus
from worker.http.transport import AiohttpTransport, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    """What an adapter is told of its account."""

    carrier: str  # its name in `CARRIERS`
    key: Callable[[], str]  # asked at every request
    base_url: str | None = None  # None: the carrier's own
    timeout: float = 20.0  # seconds for one request, all in all
    proxy: str | None = None  # the URL of one
    ca_file: str | None = None  # authorities to trust beside the system's
    label_hosts: tuple[str, ...] = ()  # hosts of labels that need not be public
    label_pages: str = "documented"  # or "any": how many pages a label may have
    max_label_bytes: int = 20_000_000
    receiver: Mapping[str, Any] | None = None  # where a return goes that names no receiver, in the payload's shape
    status_map: Mapping[str, TrackingStatus] = field(default_factory=dict)  # beside what is built in, and before it
    reject_past_pickup: bool = False
    link_grace: timedelta = timedelta(hours=24)  # how long after its end a customer's link may still have been used
    clock: Callable[[], datetime | None] = utc_now  # None while no time is to be believed


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierKind:
    """One carrier's defaults, and how to open an account there."""

    base_url: str
    operations: tuple[str, ...]  # what its requests are counted by
    statuses: StatusMap  # how its words are read, but for the account's own map
    authorization: Callable[[str], Mapping[str, str]]  # the headers that carry a key
    is_number: Callable[[str], bool]  # whether a text could be a number of its orders
    adapter: type[Carrier]
    open: Callable[[AccountConfig, HttpEdge, StatusMap], Carrier]
    created: Created  # its documented answer to a creation, as the adapter reads it
    own_settings: frozenset[str]  # those of an account that not every carrier has, and this one does
    page_size: int = 1  # returns on a page of its list
    open_ended: frozenset[TrackingStatus] = frozenset()  # where a customer may use his link as long as that is open
    receiver_problems: Callable[[Mapping[str, Any]], Sequence[str]] = receiver_problems  # of an account's receiver
    # The words of its that a recorded `carrier_status` is made of, and every tracking status that one may stand for.
    words: Callable[[str], Sequence[str]] = lambda carrier_status: (carrier_status,)
    meanings: Callable[[str, StatusMap], frozenset[TrackingStatus]] = lambda word, by: frozenset({by.read(word)})


def _open_izipack(config: AccountConfig, edge: HttpEdge, statuses: StatusMap) -> Carrier:
    any_pages, most = config.label_pages == "any", config.max_label_bytes
    return izipack.Izipack(edge, statuses, config.receiver, config.reject_past_pickup, most, any_pages)


def _open_returnpilot(config: AccountConfig, edge: HttpEdge, statuses: StatusMap) -> Carrier:
    hosts, most = config.label_hosts, config.max_label_bytes
    return returnpilot.ReturnPilot(edge, statuses, hosts, most, config.link_grace, config.clock)


CARRIERS: Mapping[str, CarrierKind] = {
    "izipack": CarrierKind(
        base_url=izipack.BASE_URL,
        operations=izipack.OPERATIONS,
        statuses=izipack.BUILT_IN_STATUSES,
        authorization=izipack.authorization,
        is_number=izipack.is_number,
        adapter=izipack.Izipack,
        open=_open_izipack,
        created=izipack.read_created(Reply(201, {}, izipack.SAMPLE_CREATED)),
        own_settings=frozenset({"label_pages", "receiver", "reject_past_pickup"}),
        receiver_problems=izipack.receiver_problems,
    ),
    "returnpilot": CarrierKind(
        base_url=returnpilot.BASE_URL,
        operations=returnpilot.OPERATIONS,
        statuses=returnpilot.BUILT_IN_STATUSES,
        authorization=returnpilot.authorization,
        is_number=returnpilot.is_number,
        adapter=returnpilot.ReturnPilot,
        open=_open_returnpilot,
        created=returnpilot_answers.read_created(Reply(201, {}, returnpilot_answers.SAMPLE_CREATED)),
        own_settings=frozenset({"label_hosts", "link_grace"}),
        page_size=returnpilot.PAGE_SIZE,
        open_ended=returnpilot_answers.OPEN_ENDED,
        words=returnpilot_answers.words,
        meanings=returnpilot_answers.meanings,
    ),
}


def statuses_of(carrier: str, status_map: Mapping[str, TrackingStatus]) -> StatusMap:
    """How an account there reads the carrier's words: `status_map` adds to and overrides what is built in."""
    return CARRIERS[carrier].statuses.overridden_by(status_map)


def is_searchable(carrier: str) -> bool:
    """Whether a creation without an answer can be looked up there."""
    return issubclass(CARRIERS[carrier].adapter, Searchable)


def is_cancelling(carrier: str) -> bool:
    """Whether there is anything to tell it where a return is withdrawn."""
    return issubclass(CARRIERS[carrier].adapter, Cancelling)


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
