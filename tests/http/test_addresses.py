"""Only what the whole Internet can reach counts as public, however it is written."""

import ipaddress
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grids import diagonal, first_of_each
from worker.domain.public_addresses import is_numeric, is_public
from worker.http.addresses import ForbiddenAddress, PublicResolver

PUBLIC = ["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"]
PUBLIC += ["128.0.0.1", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255"]
PUBLIC += ["198.20.0.0", "223.255.255.255", "168.63.129.17"]
PUBLIC += ["2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:400e:811::200e", "2001:200::1", "3ffe::1"]
PUBLIC += ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700::1111%eth0"]

INSIDE_4 = {
    "this network": ["0.0.0.0", "0.1.2.3"],
    "private, 10/8": ["10.0.0.7", "10.255.255.255"],
    "provider's NAT": ["100.100.100.200", "100.64.0.1", "100.127.255.255"],
    "loopback": ["127.0.0.1", "127.255.255.255"],
    "Azure's platform": ["168.63.129.16"],
    "link-local": ["169.254.169.254", "169.254.0.1"],
    "private, 172.16/12": ["172.16.0.1", "172.31.255.255"],
    "protocol assignments": ["192.0.0.192", "192.0.0.1"],
    "6to4 relays": ["192.88.99.1"],
    "private, 192.168/16": ["192.168.0.1", "192.168.255.255"],
    "benchmarks": ["198.18.0.1", "198.19.255.255"],
    "documentation 1": ["192.0.2.1"],
    "documentation 2": ["198.51.100.1"],
    "documentation 3": ["203.0.113.1"],
    "multicast": ["224.0.0.1", "239.255.255.255"],
    "reserved": ["240.0.0.1"],
    "broadcast": ["255.255.255.255"],
}
HIDING = ["::ffff:{}", "64:ff9b::{}", "::{}", "::ffff:0:{}", "64:ff9b:1::{}", "::ffff:{}%eth0"]
EVERY_4 = [address for addresses in INSIDE_4.values() for address in addresses]

INSIDE_6 = {
    "unspecified": ["::"],
    "loopback": ["::1", "::1%lo"],
    "IPv4-compatible": ["::8.8.8.8", "::2"],
    "IPv4-translated": ["::ffff:0:8.8.8.8"],
    "discard": ["100::1"],
    "link-local": ["fe80::1%eth0", "fe80::1", "fe80::1%25eth0", "febf::1"],
    "site-local": ["fec0::1"],
    "unique local": ["fd00:ec2::254", "fc00::1"],
    "multicast": ["ff02::1", "ff0e::1"],
    "protocol assignments": ["2001:1::1", "2001:2::1", "2001:10::1", "2001:20::1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001::1"],
    "6to4": ["2002:808:808::1"],
    "documentation": ["2001:db8::1"],
    "more documentation": ["3fff::1"],
    "segment routing": ["5f00::1"],
    "local NAT64": ["64:ff9b:1::8.8.8.8", "64:ff9b:1:ffff::1"],
    "not given out": ["4000::1", "8000::1"],
}

NO_ADDRESS = ["", " ", "localhost", "labels.example", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "8.8.8.08"]
NO_ADDRESS += ["8.8.8.8 ", "8.8.8.8.", "8.8.8", "8.8.8.8/32", "8.8.8.8%eth0", "[2606:4700::1111]", "٨.٨.٨.٨", "1:2"]
NO_ADDRESS += ["%", "%eth0", "8.8.8.8\n", "8.8.8.8\0"]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_that_everybody_can_reach_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", first_of_each(INSIDE_4))
def test_an_ipv4_address_within_a_network_or_of_no_host_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", first_of_each(INSIDE_6))
def test_an_ipv6_address_within_a_network_or_of_no_host_is_not_either(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(("address", "form"), diagonal(EVERY_4, HIDING))
def test_an_ipv4_address_hides_in_no_ipv6_address(address: str, form: str) -> None:
    assert not is_public(form.format(address))


@pytest.mark.parametrize("address", first_of_each(INSIDE_4))
def test_an_ipv4_address_hides_in_no_tunnel(address: str) -> None:
    number = int(ipaddress.IPv4Address(address))
    assert not is_public(str(ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1)))  # 6to4
    assert not is_public(str(ipaddress.IPv6Address(0x20010000 << 96 | number << 64 | 1)))  # Teredo's server
    assert not is_public(str(ipaddress.IPv6Address(0x20010000 << 96 | number ^ 0xFFFFFFFF)))  # Teredo's client


@pytest.mark.parametrize("text", NO_ADDRESS)
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@settings(database=None, deadline=None)
@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_calls_private(address: Any) -> None:
    if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
        mapped = getattr(address, "ipv4_mapped", None)
        assert not is_public(str(address)) or (mapped is not None and is_public(str(mapped)))


@settings(database=None, deadline=None)
@given(st.text())
def test_no_text_breaks_the_judgement(text: str) -> None:
    assert is_public(text) in (True, False)
    assert is_numeric(text) in (True, False)


NUMERIC = ["2130706433", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "0X7F.0.0.1", "017700000001", "1.0x", "127.0.0.1."]
NUMERIC += ["127.0.0.1", "::1", "fe80::1%eth0", "0", "labels.example.1", "127.0.0.1.."]


@pytest.mark.parametrize("host", NUMERIC)
def test_a_host_that_getaddrinfo_could_take_for_an_address_is_numeric(host: str) -> None:
    assert is_numeric(host)


@pytest.mark.parametrize(
    "host", ["labels.example", "1.example", "0x7f.example", "localhost", "a1", "x0x1", "labels.example."]
)
def test_a_name_is_not_numeric(host: str) -> None:
    assert not is_numeric(host)


class Known(AbstractResolver):
    """Answers with these addresses, whatever it is asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.closed = False

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        self.closed = True


async def test_public_addresses_are_passed_on_as_they_are() -> None:
    inner = Known("8.8.8.8", "2606:4700::1111")
    assert await PublicResolver(inner).resolve("labels.example", 443) == await inner.resolve("labels.example", 443)


@pytest.mark.parametrize("at", range(3))
async def test_one_address_inside_condemns_the_name_wherever_it_stands(at: int) -> None:
    addresses = ["8.8.8.8", "2606:4700::1111"]
    addresses.insert(at, "10.0.0.7")
    with pytest.raises(ForbiddenAddress, match=r"labels\.example is at 10\.0\.0\.7, which is not a public address"):
        await PublicResolver(Known(*addresses)).resolve("labels.example", 443)


async def test_a_name_without_addresses_is_a_failed_look_up() -> None:
    with pytest.raises(OSError, match="no address"):
        await PublicResolver(Known()).resolve("labels.example", 443)


async def test_the_inner_resolver_is_closed_with_the_outer() -> None:
    inner = Known()
    await PublicResolver(inner).close()
    assert inner.closed
