"""What a return is: the row a worker holds, and the shop's payload once read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from worker.domain.error_codes import IN_DOUBT, ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.tracking import TrackingStatus


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """A row of `package`: what the carrier says of one package or shipment."""

    position: int
    label_code: str | None = None
    description: str | None = None
    tracking_number: str | None = None
    tracking_url: str | None = None


class ReturnOrder(NamedTuple):
    """One row of `return_order` as claimed; times are aware and UTC, on the database's clock.

    A named tuple, since each decision makes a new one: `order._replace(...)` costs a quarter of a data class.
    """

    id: int
    account: str
    reference: str
    state: State = State.PENDING
    next_step: Step = Step.CREATE
    due_at: datetime | None = None
    label_due_at: datetime | None = None
    track_due_at: datetime | None = None
    payload: str | None = None  # JSON text, present only when the claimed step needs it
    tracking_status: TrackingStatus | None = None
    carrier_status: str | None = None
    carrier_ref: str | None = None
    adopt_carrier_ref: str | None = None  # under which it is there already, as the shop said when it inserted it
    return_url: str | None = None
    # The durable intent: committed before a creation is sent, cleared only by what proves that nothing was created. A
    # row that is claimed with one has a creation without an answer.
    create_started_at: datetime | None = None
    first_attempt_at: datetime | None = None  # the first intent since something may exist at the carrier
    lookups: int = 0  # how often that creation was looked up since
    followed_since: datetime | None = None  # when it, or its first shipment, came to the carrier
    status_since: datetime | None = None  # since when it has its tracking status
    attempts: int = 0
    failing_since: datetime | None = None
    unchanged_polls: int = 0
    error_code: ErrorCode | None = None
    error_message: str | None = None
    label_attempts: int = 0
    label_error_code: ErrorCode | None = None
    label_error_message: str | None = None
    label_sought_since: datetime | None = None  # since when its oldest missing label has been sought
    cancel_requested_at: datetime | None = None
    retry_requested_at: datetime | None = None
    shop_changes: int = 0
    lease_token: int = 0
    claims: int = 0
    created_at: datetime | None = None
    pickup_date: date | None = None  # the payload's
    doubtful_since: datetime | None = None  # when the database was found restored or copied after the last record
    packages: tuple[PackageInfo, ...] = ()  # recorded ones
    labels: frozenset[int] = frozenset()  # positions of the stored ones
    payload_unreadable: str | None = None  # why the payload that the step needs is not here
    unreadable: str | None = None  # what cannot be read, and is None here; such a row is only set aside

    @property
    def doubtful(self) -> bool:
        """Whether the row may say less than is true."""
        return self.doubtful_since is not None

    @property
    def queue(self) -> Step:
        """Where it waits for a worker: a withdrawal of what was sent in one of its own, all else by its next step."""
        withdrawn = self.cancel_requested_at is not None and self.next_step is not Step.CREATE
        return Step.CANCEL if withdrawn else self.next_step

    @property
    def in_doubt(self) -> bool:
        """Whether a creation of it may have happened whose answer was not recorded."""
        begun = self.create_started_at is not None or self.error_code in IN_DOUBT
        return self.carrier_ref is None and self.adopt_carrier_ref is None and (begun or self.doubtful)

    @property
    def to_adopt(self) -> str | None:
        """The number by which the carrier has still to be asked about it; nothing is ever sent for such a return."""
        return self.adopt_carrier_ref if self.carrier_ref is None else None


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address; `country` is ISO 3166-1 alpha-2; without `house_number`, `street` is the whole first line."""

    street: str = ""
    house_number: str = ""
    line_2: str = ""
    postal_code: str = ""
    city: str = ""
    region: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who sends or receives."""

    name: str = ""
    email: str = ""
    phone: str = ""
    address: Address = field(default_factory=Address)

    @property
    def line(self) -> str:
        """All of it on one line, as a person reads it."""
        at = self.address
        parts = (
            self.name,
            f"{at.street} {at.house_number}".strip(),
            at.line_2,
            f"{at.postal_code} {at.city}".strip(),
            at.region,
            at.country,
            self.email,
            self.phone,
        )
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Parcel:
    """One package as the shop describes it, in the carrier's own units; None where it says nothing."""

    height: Decimal | None = None
    width: Decimal | None = None
    depth: Decimal | None = None
    weight: Decimal | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class ReturnRequest:
    """A payload that has been read: `customer` sends the goods back to `receiver`."""

    customer: Party | None = None
    receiver: Party | None = None
    packages: tuple[Parcel, ...] = ()
    items: tuple[Mapping[str, Any], ...] = ()
    pickup_date: date | None = None
    description: str = ""
    company_name: str = ""
    attention_of: str = ""
    link_expires_in_days: int | None = None
    carrier_fields: Mapping[str, Any] = field(default_factory=dict)
