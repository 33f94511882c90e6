"""The shapes of what a program sends: bodies and queries are read by them, and described by them."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State
from worker.settings.durations import parse_positive_duration


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL, which no database holds")
    return text


Words = Annotated[str, AfterValidator(_without_nul)]
Reason = Annotated[Words, Field(max_length=500)]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_positive_duration),
    WithJsonSchema({"type": ["string", "number"], "examples": ["2h", 7200]}),
]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class _Sent(_Asked):
    model_config = ConfigDict(strict=True)


class ReturnsAsked(_Asked):
    """Which returns are wanted."""

    q: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        None,
        description="Any number, name, e-mail address or postal code of a return, as `returns-worker find` takes it.",
    )
    state: State | None = Field(None, description="Only those in this state.")
    account: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        None, description="Only those of this account."
    )
    error_code: ErrorCode | None = Field(
        None, description="Only those with this error code, their own or their label's."
    )
    limit: Annotated[int, Field(ge=1, le=200)] = Field(50, description="At most so many.")
    before: Annotated[int, Field(ge=1, le=2**62)] | None = Field(
        None, description="Only those with a smaller id; `next` of an answer has it."
    )

    @model_validator(mode="after")
    def _can_be_told(self) -> "ReturnsAsked":
        if self.q is not None and self.error_code is not None:
            raise ValueError("q goes with state and account, and not with error_code")
        return self


class Act(_Sent):
    """What a person decides of a return."""

    reason: Reason = Field("", description="Why; it goes into the history, after the name of the token.")
    dry_run: bool = Field(False, description="Say what would happen, and change nothing.")


class Resolve(Act):
    """What became of a creation in doubt: either `carrier_ref`, or `not_created`."""

    carrier_ref: Annotated[Words, Field(min_length=1, max_length=200)] | None = Field(
        None, description="It is at the carrier, under this number: it is adopted and followed."
    )
    not_created: bool = Field(False, description="It is not at the carrier: it is sent again.")

    @model_validator(mode="after")
    def _one_of_them(self) -> "Resolve":
        if (self.carrier_ref is None) != self.not_created:
            raise ValueError('say either {"carrier_ref": "NUMBER"} or {"not_created": true}')
        return self


class Hold(_Sent):
    """How an account is held."""

    reason: Annotated[Words, Field(max_length=400)] = Field("", description="Why; `/api/accounts` says so.")
    lasting: Duration | None = Field(
        None,
        description="Of a whole account: for so long, such as `2h`, or so many seconds; else until it is released.",
    )
    creations: bool = Field(False, description="Hold only its creations; what it has at the carrier is followed on.")

    @model_validator(mode="after")
    def _of_the_whole(self) -> "Hold":
        if self.creations and self.lasting is not None:
            raise ValueError("lasting is for the whole account; creations are held until they are released")
        return self


class Why(_Sent):
    """Why a webhook is held or released."""

    reason: Annotated[Words, Field(max_length=400)] = Field(
        "", description="It goes into the log, with the name of the token; of a hold `/api/news` says it, too."
    )


class Release(_Sent):
    """Nothing has to be said: `{}`, or no body."""
