"""Every setting with its type, its default and its meaning; `config/worker.toml` gives the reasons."""

import ipaddress
import re
import warnings
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, WithJsonSchema

from worker.domain.cadence import Ladder
from worker.domain.circuits import Breaker
from worker.domain.file_names import LARGEST_LABEL
from worker.domain.pacing import RATES
from worker.domain.policy import Backoff
from worker.domain.tracking import TrackingStatus, clashes
from worker.dsn import check_url
from worker.listening import DEFAULT_LISTEN, check_host, split_listen
from worker.settings.durations import Age, BoundedDuration, Duration, PositiveDuration
from worker.settings.news import NewsSettings
from worker.settings.polling import AccountPolling, Factor, PollingSettings, ladder_of, reject_bool, resolve
from worker.settings.secrets import OptionalPath, check_key, none_if_empty
from worker.settings.table import MayHoldPassword, Table
from worker.settings.urls import check_base_url, check_label_store, check_origin, check_proxy

_SCHEMA = re.compile(r"[^\W\d][\w .-]*(?<! )")
_LONGEST_NAME = 63  # bytes: PostgreSQL cuts off the rest (https://www.postgresql.org/docs/current/limits.html)
_BACKOFF, _BREAKER = Backoff(), Breaker()
_A_CARRIER = {"type": "string", "enum": [*RATES]}

if TYPE_CHECKING:
    MappedStatus = TrackingStatus
else:
    MappedStatus = Literal[tuple(status for status in TrackingStatus if status is not TrackingStatus.EXPIRED)]
"""What a carrier's word may be mapped to: every tracking status but `expired`, which only the worker decides."""


def _known_carrier(name: str) -> str:
    if name not in RATES:
        raise ValueError(f"must be one of {', '.join(RATES)}")
    return name


def check_schema(name: str) -> str:
    """Accept a name of a schema that PostgreSQL keeps as it is, upper case too; raises ValueError."""
    if not _SCHEMA.fullmatch(name):
        raise ValueError("must begin with a letter or _, and have letters, digits, spaces and _ - . only; no quotes")
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"must have at most {_LONGEST_NAME} bytes")
    if name.startswith("pg_") or name == "information_schema":
        raise ValueError("must not be one of PostgreSQL's own schemas")
    return name


def _check_secret(key: SecretStr) -> SecretStr:
    return SecretStr(check_key(key.get_secret_value()))


def _check_listen(listen: str) -> str:
    split_listen(listen)
    return listen.strip()


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _one_spelling_each(words: dict[str, MappedStatus]) -> dict[str, MappedStatus]:
    if twins := clashes(words):
        pairs = "; ".join(f"{one!r} and {other!r}" for one, other in twins)
        raise ValueError(f"{pairs} are the same word to the worker, but mapped differently; keep one")
    return words


Count = Annotated[int, Field(ge=1), BeforeValidator(reject_bool)]
AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+\z")]
SubscriberName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+\z", max_length=63)]


# pydantic has a deprecated method of that name, and takes a field in its place
# (https://docs.pydantic.dev/latest/migration/#changes-to-pydanticbasemodel).
warnings.filterwarnings("ignore", 'Field name "schema" in "DatabaseSettings" shadows', UserWarning)


class DatabaseSettings(Table):
    """`[database]`: where the returns are."""

    # sqlite:///FILE or postgresql://...; postgres:// is read as postgresql://.
    url: Annotated[str, AfterValidator(check_url), MayHoldPassword()] = "sqlite:///returns.db"
    # A file holding the URL, else the systemd credential `database.url`; None where `url` is given.
    url_file: OptionalPath = None
    # The schema of PostgreSQL that has our tables; None: by the search path of the role.
    schema: Annotated[Annotated[str, AfterValidator(check_schema)] | None, BeforeValidator(none_if_empty)] = None  # type: ignore[assignment]
    auto_migrate: bool | None = None  # whether `run` brings the schema up to date; None: see `migrates_itself`
    # How long to wait for the database at start, and for others' locks where `run` migrates; zero tries once.
    wait: Duration = timedelta(seconds=30)
    pooler: bool = False  # whether a transaction-mode pooler such as PgBouncer is in between; without meaning on SQLite
    wake: bool = True  # whether to be woken by what others commit, where the database can tell; else the tick finds it

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        """Which database it is."""
        return "sqlite" if self.url.startswith("sqlite:") else "postgresql"

    @property
    def migrates_itself(self) -> bool:
        """`auto_migrate` as it is in force: by default on SQLite only."""
        return self.kind == "sqlite" if self.auto_migrate is None else self.auto_migrate

    @property
    def can_wake(self) -> bool:
        """`wake` as it is in force: a transaction-mode pooler has no LISTEN."""
        return self.wake and not (self.pooler and self.kind == "postgresql")

    @property
    def listens(self) -> bool:
        """Whether waking takes a connection of its own to the database."""
        return self.can_wake and self.kind == "postgresql"

    def in_force(self) -> dict[str, Any]:
        """Give what an unset `auto_migrate` comes to."""
        return {"auto_migrate": self.migrates_itself}


class AccountSettings(Table):
    """`[accounts.<name>]`: one account at one carrier, which says what of this it alone has (`AtCarrier`)."""

    carrier: Annotated[str, AfterValidator(_known_carrier), WithJsonSchema(_A_CARRIER)] = "izipack"
    # The API's address without a trailing slash; None: the carrier's own.
    base_url: Annotated[Annotated[str, AfterValidator(check_base_url)] | None, BeforeValidator(none_if_empty)] = None
    api_key: Annotated[SecretStr, AfterValidator(_check_secret)] | None = None
    api_key_file: OptionalPath = None  # used when `api_key` is not given; `KeySource` reads it
    # Requests in any 60 seconds over all workers; 0: no limit; None: see `requests_per_minute`.
    rate_per_minute: Annotated[int, Field(ge=0), BeforeValidator(reject_bool)] | None = None
    # Requests at the same time, per worker.
    max_in_flight: Annotated[int, Field(ge=1, le=1000), BeforeValidator(reject_bool)] = 8
    timeout: PositiveDuration = timedelta(seconds=20)  # for one request, all in all
    # http(s)://[USER:PASSWORD@]HOST[:PORT]; "": none.
    proxy: Annotated[str, AfterValidator(check_proxy), MayHoldPassword()] = ""
    ca_file: OptionalPath = None  # PEM certificates to trust besides the system's
    # Hosts a label's URL may name beside public ones, in lower case.
    label_hosts: tuple[Annotated[str, AfterValidator(check_host)], ...] = ()
    # Whether a label has the number of pages that the carrier documents, or any.
    label_pages: Annotated[Literal["documented", "any"], BeforeValidator(_lower)] = "documented"
    # Used when a payload names no receiver; the payload's shape, which is checked as a payload's is.
    receiver: dict[str, Any] | None = None
    status_map: Annotated[
        dict[Annotated[str, StringConstraints(min_length=1)], MappedStatus], AfterValidator(_one_spelling_each)
    ] = Field(default_factory=dict)
    """A carrier's word (compared as `worker.domain.tracking` folds it) to tracking status, over the built-in map."""
    polling: AccountPolling = AccountPolling()
    # How long after a customer's link has run out a shipment may still appear.
    link_grace: Duration = timedelta(hours=24)
    # Whether a pickup date in the past is refused here rather than left to the carrier.
    reject_past_pickup: bool = False

    @property
    def requests_per_minute(self) -> int:
        """`rate_per_minute` as it is in force; 0: no limit."""
        return RATES[self.carrier] if self.rate_per_minute is None else self.rate_per_minute

    def in_force(self) -> dict[str, Any]:
        """Give what an unset `rate_per_minute` comes to."""
        return {"rate_per_minute": self.requests_per_minute}


class RetrySettings(Table):
    """`[retry]`: the back-off of failed tries of a step, with full jitter."""

    first: PositiveDuration = _BACKOFF.first
    factor: Factor = _BACKOFF.factor
    cap: PositiveDuration = _BACKOFF.cap
    max_attempts: Count = _BACKOFF.max_attempts  # of failures that are the row's own
    give_up_after: PositiveDuration = _BACKOFF.give_up_after  # of failures that are the carrier's or the network's
    # How long after its creation a 404 about a return means "not yet".
    not_found_grace: Duration = _BACKOFF.not_found_grace
    # Between questions about a return that the carrier does not know any more; after three a person looks.
    not_found_wait: PositiveDuration = _BACKOFF.not_found_wait


class CircuitSettings(Table):
    """`[circuit]`: how long an account is left alone whose carrier fails again and again."""

    # So many returns in a row, each failing for the first time, open it; 0: never.
    failures: Annotated[int, Field(ge=0), BeforeValidator(reject_bool)] = _BREAKER.failures
    first: PositiveDuration = _BREAKER.first  # until the first probe; doubles with each one that fails ...
    cap: BoundedDuration = _BREAKER.cap  # ... up to this, at most an hour


class WorkerSettings(Table):
    """`[worker]`: the loop's own times."""

    tick: PositiveDuration = timedelta(seconds=1)  # how long it may sleep when nothing says otherwise
    # How long a claimed row is held; at least the longest timeout plus `lease_margin`, at most an hour.
    lease: BoundedDuration = timedelta(seconds=90)
    grace: PositiveDuration = timedelta(seconds=25)  # for the whole shutdown; longer than the longest timeout
    # How often the gauges that are read from the database are refreshed.
    gauges: PositiveDuration = timedelta(seconds=15)


class LabelSettings(Table):
    """`[labels]`: where label files go."""

    store: Annotated[str, AfterValidator(check_label_store), MayHoldPassword()] = "file:labels"
    max_bytes: Annotated[int, Field(ge=1, le=LARGEST_LABEL), BeforeValidator(reject_bool)] = 20_000_000


class RetentionSettings(Table):
    """`[retention]`: how long after a return's end personal data is kept; nothing is removed until it is set."""

    erase_after: Age = None
    """Its personal data, in the database and the label store; None: never."""
    labels_after: Age = None
    """Its label files alone; None: as long as its personal data."""


class TokenSettings(Table):
    """`[http.tokens.<name>]`: somebody who may see the pages."""

    file: OptionalPath = None  # holds the token; None: the systemd credential `http.tokens.<name>` does
    may: Annotated[Literal["look", "act"], BeforeValidator(_lower)] = "look"  # act: also what the pages' buttons do


class HttpSettings(Table):
    """`[http]`: the metrics and health endpoints, and the pages."""

    listen: Annotated[str, AfterValidator(_check_listen)] = DEFAULT_LISTEN  # HOST:PORT, an IPv6 address in brackets
    # The origin at which browsers reach the pages through a proxy; None: there is none.
    public_url: Annotated[Annotated[str, AfterValidator(check_origin)] | None, BeforeValidator(none_if_empty)] = None
    tokens: dict[AccountName, TokenSettings] = Field(default_factory=dict)

    @property
    def has_pages(self) -> bool:
        """Whether pages are shown at all: to those who have a token; without any, on loopback alone."""
        return bool(self.tokens) or self._is_loopback

    @property
    def _is_loopback(self) -> bool:
        with suppress(ValueError):  # a name, of which only one is loopback wherever it is looked up
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    @property
    def host(self) -> str:
        """The address to bind, an IPv6 one without its brackets."""
        return split_listen(self.listen)[0]

    @property
    def port(self) -> int:
        """The port to bind; 0: any free one."""
        return split_listen(self.listen)[1]


class LogSettings(Table):
    """`[log]`: how and how much is logged."""

    # auto: console on a terminal, else json.
    format: Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"


class Settings(Table):
    """All settings, frozen; `load` makes them. Built by hand, they skip the checks across fields."""

    database: DatabaseSettings = DatabaseSettings()
    accounts: dict[AccountName, AccountSettings] = Field(default_factory=dict)
    polling: PollingSettings = PollingSettings()
    retry: RetrySettings = RetrySettings()
    circuit: CircuitSettings = CircuitSettings()
    worker: WorkerSettings = WorkerSettings()
    labels: LabelSettings = LabelSettings()
    retention: RetentionSettings = RetentionSettings()
    news: dict[SubscriberName, NewsSettings] = Field(default_factory=dict)
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    def polling_for(self, account: str, status: TrackingStatus | None) -> Ladder:
        """The cadence for an account and a tracking status; None: any.

        An account that is not configured gets the general cadence, a status without a table the account's.
        """
        return ladder_of(self.polling_values(account, status))

    def polling_values(self, account: str, status: TrackingStatus | None) -> dict[str, Any]:
        """The same as the values of settings, which `worker.settings.polling` resolves."""
        configured = self.accounts.get(account)
        return resolve(self.polling, configured.polling if configured else AccountPolling(), status)
