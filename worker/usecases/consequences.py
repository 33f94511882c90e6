"""What follows from what a person decides, in words for any face: for the return, for the carrier, for the customer."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.carriers.registry import CARRIERS, is_cancelling
from worker.domain.lifecycle import State, Step
from worker.domain.next_action import NEVER_ADOPTED, NOT_TOLD, action_for
from worker.domain.outcomes import Withdrawn
from worker.domain.returns import ReturnOrder
from worker.domain.waits import next_steps
from worker.store.holds import AccountState, explain
from worker.usecases.ways import Way


@dataclass(frozen=True, slots=True)
class Consequences:
    """What the carrier is asked or told, and what the customer gets; each a sentence or two."""

    carrier: str
    customer: str


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing about a return: how it is, and how it would be; None: there is none."""

    what: str
    now: str | None
    then: str | None


_NOTHING = "The customer gets nothing new."
_LINK = "The carrier mails the customer a link, by which the return is scheduled."
_LABEL = "There will be a label, which the shop hands out once it is stored."
_SECOND = (
    " If the first creation is there after all, the customer gets the same a second time: so look at the carrier first."
)
_ASKED_FIRST = "The carrier is asked first whether it has the return. What it has is withdrawn, and nothing is created."


def changes(before: ReturnOrder, after: ReturnOrder) -> list[Changed]:
    """How a return is, and how it would be: its state, and whatever else would be another."""
    every = [
        Changed("state", before.state, after.state),
        Changed("error", _error(before.error_code, before.error_message), _error(after.error_code, None)),
        Changed(
            "trouble with its label",
            _error(before.label_error_code, before.label_error_message),
            _error(after.label_error_code, None),
        ),
        Changed("number at the carrier", before.carrier_ref, after.carrier_ref),
        Changed("tracking status", before.tracking_status, after.tracking_status),
        Changed("withdrawal", _asked(before), _asked(after)),
        Changed("what comes next", _next(before), _next(after)),
    ]
    return [each for each in every if each.what == "state" or each.now != each.then]


def consequences_of(way: Way, before: ReturnOrder, after: ReturnOrder, carrier: str | None) -> Consequences:
    """What follows where `way` makes `after` of a return; of a question `after` is the return as it is.

    `carrier`: its name, None where the account is not configured here.
    """
    after = after._replace(doubtful_since=None)  # what is recorded now says all that is true
    if way is Way.CANCEL or after.cancel_requested_at is not None:  # also where the shop asked for it before
        return _withdrawn(after, can_cancel=carrier is not None and is_cancelling(carrier))
    match way:
        case Way.POLL:
            return Consequences("The carrier is asked now where the return is, out of turn.", _NOTHING)
        case Way.FOUND:
            asked = f"The carrier is asked about {after.carrier_ref}: its status and its label. Nothing is created."
            wrong = " If it does not know this number, the return needs attention again."
            return Consequences(asked + wrong, _NOTHING)
        case Way.NOT_CREATED:
            return Consequences(
                "The carrier is asked to create the return once more, from its payload as it is then.",
                _gets(carrier) + _SECOND,
            )
        case _:
            return _retried(before, after, carrier)


def keeps_waiting(state: AccountState, after: ReturnOrder) -> str | None:
    """Why what comes next of a return is not begun at once: its account waits, or creates nothing; None: it is."""
    whole = state.hold is not None or state.health.account.is_open(state.now)
    is_created = after.state is State.PENDING and after.cancel_requested_at is None
    waits = whole or (is_created and (not state.creates or state.sending_stopped is not None))
    return explain(state) if waits else None


def _retried(before: ReturnOrder, after: ReturnOrder, carrier: str | None) -> Consequences:
    if after.state is State.TRACKING:
        status = "" if before.state is State.TRACKING else " where the return is"
        label = "for the label" if after.label_due_at is not None else ""
        asked = " and ".join(filter(None, (status.strip(), label)))
        return Consequences(f"The carrier is asked {asked}.", _NOTHING)
    if after.to_adopt is not None:
        return Consequences(f"The carrier is asked about {after.to_adopt}. Nothing is created.", _NOTHING)
    if after.in_doubt:
        return Consequences(
            "The carrier's list is searched for the return. Only where it is surely not there, the carrier is asked to"
            " create it once more.",
            "The customer gets nothing new, unless it is created once more.",
        )
    return Consequences("The carrier is asked to create the return, from its payload as it is then.", _gets(carrier))


def _withdrawn(after: ReturnOrder, *, can_cancel: bool) -> Consequences:
    told = "The worker tells the customer nothing. A label that was handed out must not be used any more."
    if after.state is State.CANCELLED:
        return Consequences(
            "The carrier may have the return, and is not told: it may still expect the parcel. Look for it there, and"
            " withdraw it there, too.",
            told,
        )
    match action_for(after, can_cancel=can_cancel):
        case Step.CANCEL:
            return Consequences("The carrier is told to delete the return.", told)
        case Withdrawn(reason) if reason in (NOT_TOLD, NEVER_ADOPTED):
            return Consequences("The carrier is not told: it may still expect the parcel.", told)
        case Withdrawn():
            return Consequences("The carrier is told nothing, since it does not have the return.", _NOTHING)
        case _:
            return Consequences(_ASKED_FIRST, told)


def _gets(carrier: str | None) -> str:
    if carrier is None:
        return _NOTHING
    return _LINK if CARRIERS[carrier].created.return_url is not None else _LABEL


def _error(code: str | None, message: str | None) -> str | None:
    return f"{code}: {message}" if code and message else code


def _asked(order: ReturnOrder) -> str | None:
    return "asked for" if order.cancel_requested_at is not None else None


def _next(order: ReturnOrder) -> str | None:
    return _joined([each.what for each in next_steps(order)]) or None


def _joined(parts: Sequence[str]) -> str:
    return ", ".join(part.strip(",") for part in parts)
