"""What the settings of an account come to: its carrier's adapter, its policy, its map of words."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from worker.carriers.edge import Observer
from worker.carriers.port import Carrier, Pacer, utc_now
from worker.carriers.registry import CARRIERS, AccountConfig, is_listing, is_searchable, open_carrier, statuses_of
from worker.domain.circuits import Breaker
from worker.domain.delivery import DeliveryPolicy
from worker.domain.kin import Identity, Kin, Shared, common_pace, kin_of, sharing
from worker.domain.masking import said_by
from worker.domain.news import Subscriber, SubscriberKind
from worker.domain.pacing import Pace
from worker.domain.policy import Backoff, Policy
from worker.domain.tracking import POLLED, StatusMap
from worker.http.links import NotAnAddress, origin_of
from worker.http.transport import AiohttpTransport
from worker.news.sender import Sender, Webhook
from worker.settings import ConfigurationError, KeySource, KeyUnavailableError, Settings

_LONG = timedelta(minutes=5)
_LOOK_EVERY = 1.0  # seconds, as key files are looked at
_SHARED = (
    "they have one pace, the slowest of theirs, and must not use the same reference twice: a lost creation of it could"
    " be either's, and a person is asked"
)


def open_account(
    settings: Settings,
    name: str,
    key: Callable[[], str],
    observe: Observer,
    pacer: Pacer | None = None,
    clock: Callable[[], datetime | None] = utc_now,
) -> Carrier:
    """The adapter of one configured account; where `clock` says None it judges no age. Raises `ConfigurationError`."""
    account = settings.accounts[name]
    config = AccountConfig(
        carrier=account.carrier,
        key=key,
        base_url=account.base_url,
        timeout=account.timeout.total_seconds(),
        proxy=account.proxy or None,
        ca_file=str(account.ca_file) if account.ca_file else None,
        label_hosts=account.label_hosts,
        label_pages=account.label_pages,
        max_label_bytes=settings.labels.max_bytes,
        receiver=account.receiver,
        status_map=account.status_map,
        reject_past_pickup=account.reject_past_pickup,
        link_grace=account.link_grace,
        clock=clock,
    )
    try:
        return open_carrier(config, observe, pacer=pacer)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            [f"accounts.{name}.ca_file: {account.ca_file} holds no certificates: {said_by(error)}"]
        ) from error


def open_sender(settings: Settings, subscriber: str, keys: Callable[[], Sequence[bytes]]) -> Sender:
    """What sends to one configured webhook; `keys` as `Sender` has it. Raises `ConfigurationError`."""
    configured = settings.news[subscriber]
    # A name server of its own that does not answer is its own trouble, too.
    transport = AiohttpTransport(timeout=configured.timeout.total_seconds(), looks_up_apart=True)
    try:
        return Sender(configured.url, transport, keys, private=configured.private)
    except NotAnAddress as error:
        raise ConfigurationError([f"news.{subscriber}.url: {error}"]) from None


def open_webhook(settings: Settings, subscriber: str, keys: Callable[[], Sequence[bytes]]) -> Webhook:
    """One configured webhook, as `open_sender` opens it."""
    configured = settings.news[subscriber]
    return Webhook(
        name=subscriber,
        sender=open_sender(settings, subscriber, keys),
        timeout=configured.timeout.total_seconds(),
        policy=DeliveryPolicy(configured.max_in_flight, configured.give_up_after),
    )


def webhooks_of(settings: Settings) -> list[str]:
    """The names of the subscribers that are told by requests."""
    return [name for name, each in settings.news.items() if each.kind == "webhook"]


def address_of(settings: Settings, account: str) -> str:
    """Where an account's API is: its `base_url`, else the carrier's own."""
    configured = settings.accounts[account]
    return configured.base_url or CARRIERS[configured.carrier].base_url


def in_force(settings: Settings, account: str) -> Mapping[str, Any]:
    """The settings of an account as its carrier fills them up, by their names; for `show`."""
    return {"base_url": address_of(settings, account), "status_map": map_of(settings, account).words}


def pace_of(settings: Settings, name: str) -> Pace | None:
    """What the settings say of an account's own pace; None: no limit."""
    rate = settings.accounts[name].requests_per_minute
    return Pace(rate) if rate else None


class Kinship:
    """Which of the configured accounts share a key now, and so their pace; key files may change while it runs."""

    def __init__(self, settings: Settings, keys: Mapping[str, KeySource], clock: Callable[[], float]) -> None:
        """`keys` has each account's; `clock` counts seconds."""
        self._settings, self._keys, self._clock = settings, keys, clock
        self._identities: dict[str, Identity] = {}
        self._kin: dict[str, Kin] = {}
        self._looked_at: float | None = None

    def kin(self, account: str) -> Kin:
        """The accounts beside one, by the keys in force."""
        self._look()
        return self._kin[account]

    def shared(self, account: str) -> Shared:
        """The row and the pace that an account has together with those that share its key."""
        kin = self.kin(account)
        return Shared(kin.first, common_pace(pace_of(self._settings, name) for name in kin.same_key))

    def warnings(self) -> list[str]:
        """A line for each group of accounts that share a key."""
        self._look()
        return [f"{', '.join(names)} share one key: {_SHARED}" for names in sharing(self._identities)]

    def _look(self) -> None:
        now = self._clock()
        if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY:
            self._identities = {name: self._identity(name) for name in self._settings.accounts}
            self._kin = {name: kin_of(name, self._identities) for name in self._identities}
            self._looked_at = now

    def _identity(self, name: str) -> Identity:
        key = None
        with suppress(KeyUnavailableError):  # that is said where a request needs it
            key = fingerprint_of(self._keys[name].current())
        return Identity(self._settings.accounts[name].carrier, origin_of(address_of(self._settings, name)), key)


def policy_of(settings: Settings, account: str, meets: timedelta = timedelta(0)) -> Policy:
    """What `decide` is told of an account's configuration; `meets`: when its polls meet, at a carrier that lists."""
    configured = settings.accounts[account]
    meeting = meets if is_listing(configured.carrier) else None
    return Policy(
        ladders={status: replace(settings.polling_for(account, status), meets=meeting) for status in POLLED},
        backoff=Backoff(**dict(settings.retry)),
        breaker=Breaker(**dict(settings.circuit)),
        settles_after=settings.worker.lease + configured.timeout,
        searchable=is_searchable(configured.carrier),
        open_ended=CARRIERS[configured.carrier].open_ended,
    )


def policies_of(settings: Settings) -> Callable[[str], Policy]:
    """The policy of each account; one that is not configured here is taken for one that cannot be searched."""
    policies = {name: policy_of(settings, name) for name in settings.accounts}
    unknown = Policy(settles_after=max((policy.settles_after for policy in policies.values()), default=_LONG))
    return lambda account: policies.get(account, unknown)


def meeting_of(account: str, key: KeySource) -> timedelta:
    """When the polls of an account meet: at another moment than those of other accounts, here or in another shop.

    It comes from the key, so that it is the same in each of its workers; without a key it is 0.
    """
    with suppress(KeyUnavailableError):  # that is said where a request needs it
        return timedelta(microseconds=int(fingerprint_of(f"{account} {key.current()}"), 16))
    return timedelta(0)


def map_of(settings: Settings, account: str) -> StatusMap:
    """How a configured account reads its carrier's words."""
    configured = settings.accounts[account]
    return statuses_of(configured.carrier, configured.status_map)


@lru_cache(maxsize=64)
def fingerprint_of(key: str) -> str:
    """Tells a changed key from the refused one, and no more: 32 bits of a keyed hash."""
    return hashlib.blake2b(key.encode(), key=b"returns-worker", digest_size=4).hexdigest()


def subscribers_of(settings: Settings) -> list[Subscriber]:
    """Who is told of news, as the settings say it."""
    return [
        Subscriber(name, SubscriberKind(each.kind), each.events, each.accounts, each.keep, each.notify)
        for name, each in settings.news.items()
    ]
