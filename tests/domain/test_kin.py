"""Accounts that send with one key are known by it, and have one pace: the slowest."""

from worker.domain.kin import Identity, common_pace, kin_of, sharing
from worker.domain.pacing import Pace

HERE, ELSEWHERE = ("https", "carrier.example", 443), ("https", "other.example", 443)
SHOPS = {
    "c": Identity("returnpilot", HERE, "one"),
    "a": Identity("returnpilot", HERE, "one"),
    "b": Identity("returnpilot", HERE, "two"),
    "d": Identity("returnpilot", ELSEWHERE, "one"),
    "e": Identity("izipack", HERE, "one"),
    "f": Identity("returnpilot", HERE, None),
    "g": Identity("returnpilot", HERE, None),
}


def test_a_key_is_shared_by_accounts_at_one_carrier_and_address_alone() -> None:
    for name in ("a", "c"):
        kin = kin_of(name, SHOPS)
        assert (kin.same_key, kin.near, kin.first) == (("a", "c"), ("a", "b", "c", "f", "g"), "a")
    assert sharing(SHOPS) == [("a", "c")]


def test_an_account_without_a_key_shares_none() -> None:
    assert kin_of("f", SHOPS).same_key == ("f",)
    assert kin_of("d", SHOPS).near == ("d",)


def test_one_pace_is_the_slowest_and_none_where_there_is_no_limit_at_all() -> None:
    assert common_pace([Pace(60), None, Pace(50)]) == Pace(50)
    assert common_pace([None, None]) is None
