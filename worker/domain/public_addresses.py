"""Which addresses are on the public Internet, and which hosts are addresses and no names.

The ranges are written down here, from the IANA registries of special-purpose addresses (RFC 6890, as of 2025), because
what `ipaddress.is_global` says differs between patch versions of Python (CVE-2024-4032).
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network", RFC 791; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # behind a provider's NAT, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "168.63.129.16/32",  # globally routable by number, but within Azure the machine's own platform
        "169.254.0.0/16",  # link-local, RFC 3927; the metadata of most clouds is at 169.254.169.254
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.88.99.0/24",  # relays from 6to4, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, RFC 1112; with it the broadcast address
    )
)

# All unicast that IANA has given out (RFC 4291, section 2.4). Outside it are loopback, link-local, unique local,
# multicast, and the addresses of IPv4 in `::/96`, `::ffff:0:0:0/96` and `64:ff9b:1::/48` (RFC 8215).
_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments, RFC 2928; with them Teredo, 2001::/32, RFC 4380
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056: an IPv4 address in disguise, and of no use since RFC 7526
        "3fff::/20",  # documentation, RFC 9637
    )
)
# An IPv4 address is the last 32 bits of these, and a connection there ends at that address.
_EMBEDDING_4 = (
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped, RFC 4291, section 2.5.5.2
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052: how every IPv4 host looks in a network that has only IPv6
)

_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]*")


def is_public(address: str) -> bool:
    """Whether this IPv4 or IPv6 address is unicast that the whole Internet can reach.

    An IPv6 address may have a scope (`fe80::1%eth0`), which counts for nothing. False for text that is no address in
    its usual form, which `127.1` and `2130706433` are not. An IPv4 address within an IPv6 one is judged as itself, or
    refused.
    """
    plain, _, _scope = address.partition("%")
    try:
        parsed = ip_address(plain)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        # "10.0.0.1%eth0" is no address at all
        return plain == address and not any(parsed in network for network in _NOT_PUBLIC_4)
    if any(parsed in network for network in _EMBEDDING_4):
        return is_public(str(IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed in _UNICAST_6 and not any(parsed in network for network in _NOT_PUBLIC_6)


def is_numeric(host: str) -> bool:
    """Whether the host of a URL is an address and no name, in any of the forms that `getaddrinfo` takes for one.

    As the URL standard has it (url.spec.whatwg.org, "ends in a number"): no top-level domain is a number, but
    `127.1`, `0x7f.1`, `017700000001` and `2130706433` are all 127.0.0.1 to the C library.
    """
    last = host.rstrip(".").rpartition(".")[2]
    return ":" in host or last.isdigit() or _HEXADECIMAL.fullmatch(last) is not None
