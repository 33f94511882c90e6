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

    A named tuple, since each decision makes it anew: `order._replace(...)` costs a quarter of a data class.

    `payload` is JSON text, present only when the claimed step needs it. `create_started_at` is the durable intent: set
    and committed before a creation is sent, cleared only by what proves that nothing was created; a row that is claimed
    with one has a creation without an answer, looked up `lookups` times since. `first_attempt_at` is the first intent
    since something may exist at the carrier. `followed_since` is when the return came to the carrier, or its first
    shipment where those come later, and `status_since` since when it has its tracking status. `label_sought_since` is
    since when its oldest missing label has been sought. `pickup_date` is the payload's, None where that names none.
    `doubtful_since`: when the database was found restored or copied, if the row was recorded last before that, so that
    it may say less than is true. `packages` and `labels` (the positions of stored ones) have been recorded.
    `payload_unreadable`: why the payload that the step needs is not here. `unreadable`: what of the row cannot be read,
    and is None here although it is not there; such a row is only set aside, and nothing else of it written.
    """

    id: int
    account: str
    reference: str
    state: State = State.PENDING
    next_step: Step = Step.CREATE
    due_at: datetime | None = None
    label_due_at: datetime | None = None
    track_due_at: datetime | None = None
    payload: str | None = None
    tracking_status: TrackingStatus | None = None
    carrier_status: str | None = None
    carrier_ref: str | None = None
    return_url: str | None = None
    create_started_at: datetime | None = None
    first_attempt_at: datetime | None = None
    lookups: int = 0
    followed_since: datetime | None = None
    status_since: datetime | None = None
    attempts: int = 0
    failing_since: datetime | None = None
    unchanged_polls: int = 0
    error_code: ErrorCode | None = None
    error_message: str | None = None
    label_attempts: int = 0
    label_error_code: ErrorCode | None = None
    label_error_message: str | None = None
    label_sought_since: datetime | None = None
    cancel_requested_at: datetime | None = None
    retry_requested_at: datetime | None = None
    shop_changes: int = 0
    lease_token: int = 0
    claims: int = 0
    created_at: datetime | None = None
    pickup_date: date | None = None
    doubtful_since: datetime | None = None
    packages: tuple[PackageInfo, ...] = ()
    labels: frozenset[int] = frozenset()
    payload_unreadable: str | None = None
    unreadable: str | None = None

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
        """Whether a creation of it may have happened that nobody has an answer of."""
        begun = self.create_started_at is not None or self.error_code in IN_DOUBT
        return self.carrier_ref is None and (begun or self.doubtful)


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
