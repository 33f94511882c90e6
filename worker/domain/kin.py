"""Which accounts a carrier cannot tell from one another, since they send with one key, and which share its numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from worker.domain.pacing import Pace


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an account is to its carrier."""

    carrier: str
    origin: tuple[str, str, int | None]  # scheme, host and port of its API
    key: str | None  # its fingerprint; None: there is none at present, so that it is shared with no account


@dataclass(frozen=True, slots=True)
class Kin:
    """The accounts beside one, itself among them, by name in their order."""

    near: tuple[str, ...]  # at the same carrier's same address, where a number means one order
    same_key: tuple[str, ...]  # these see each other's orders, and the carrier counts their requests together

    @property
    def first(self) -> str:
        """The one whose row holds the pace of all: every worker with these settings chooses the same."""
        return self.same_key[0]


@dataclass(frozen=True, slots=True)
class Shared:
    """What an account's requests are drawn from: the row of an account, by its name, at a pace; None: no limit."""

    account: str
    pace: Pace | None


def alone(name: str) -> Kin:
    """An account that has no other beside it."""
    return Kin((name,), (name,))


def kin_of(name: str, identities: Mapping[str, Identity]) -> Kin:
    """The accounts beside `name` among those configured."""
    own = identities[name]
    near = sorted(
        other for other, each in identities.items() if (each.carrier, each.origin) == (own.carrier, own.origin)
    )
    same_key = [other for other in near if other == name or (own.key is not None and identities[other].key == own.key)]
    return Kin(tuple(near), tuple(same_key))


def sharing(identities: Mapping[str, Identity]) -> list[tuple[str, ...]]:
    """Each group of accounts that share a key."""
    groups = {kin_of(name, identities).same_key for name in identities}
    return sorted(group for group in groups if len(group) > 1)


def common_pace(paces: Iterable[Pace | None]) -> Pace | None:
    """The one pace of accounts that share a key: the slowest, since they are counted together; None: no limit."""
    limited = [pace for pace in paces if pace is not None]
    return min(limited, key=lambda pace: pace.rate_per_minute, default=None)
