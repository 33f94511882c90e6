"""An address is split once, and in the one way in which everybody reads it; what can be read in two is refused."""

from ipaddress import IPv6Address
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from worker.http.links import MAX_BYTES, Address, NotAnAddress, origin_of, resolved

BASE = Address("http", "a", 80, "/b/c/d;p?q")  # RFC 3986, 5.4

# RFC 3986, 5.4.1 and 5.4.2, without the fragments, which are never sent, and the schemes, which are none of ours.
EXAMPLES = {
    "g": "/b/c/g",
    "./g": "/b/c/g",
    "g/": "/b/c/g/",
    "/g": "/g",
    "?y": "/b/c/d;p?y",
    "g?y": "/b/c/g?y",
    "#s": "/b/c/d;p?q",
    "g#s": "/b/c/g",
    "g?y#s": "/b/c/g?y",
    ";x": "/b/c/;x",
    "g;x": "/b/c/g;x",
    "g;x?y#s": "/b/c/g;x?y",
    "": "/b/c/d;p?q",
    ".": "/b/c/",
    "./": "/b/c/",
    "..": "/b/",
    "../": "/b/",
    "../g": "/b/g",
    "../..": "/",
    "../../": "/",
    "../../g": "/g",
    "../../../g": "/g",
    "../../../../g": "/g",
    "/./g": "/g",
    "/../g": "/g",
    "g.": "/b/c/g.",
    ".g": "/b/c/.g",
    "g..": "/b/c/g..",
    "..g": "/b/c/..g",
    "./../g": "/b/g",
    "./g/.": "/b/c/g/",
    "g/./h": "/b/c/g/h",
    "g/../h": "/b/c/h",
    "g;x=1/./y": "/b/c/g;x=1/y",
    "g;x=1/../y": "/b/c/y",
    "g?y/./x": "/b/c/g?y/./x",
    "g?y/../x": "/b/c/g?y/../x",
    "g#s/../x": "/b/c/g",
}


@pytest.mark.parametrize("reference", EXAMPLES)
def test_a_relative_address_is_resolved_as_the_rfc_does_it(reference: str) -> None:
    assert resolved(reference, BASE) == BASE._replace(target=EXAMPLES[reference])


HOSTS = {
    "https://Labels.EXAMPLE/": ("https", "labels.example", 443),
    "HTTPS://labels.example:8443": ("https", "labels.example", 8443),
    "https://labels.example:/": ("https", "labels.example", 443),
    "https://labels.example.:0443?x": ("https", "labels.example.", 443),
    "http://my_labels-1.example#@evil.example": ("http", "my_labels-1.example", 80),
    "https://labels.example/@evil.example": ("https", "labels.example", 443),
    "https://labels.example?@evil.example": ("https", "labels.example", 443),
    "https://b\u00fccher.example": ("https", "xn--bcher-kva.example", 443),
    "https://B\u00dcCHER.example": ("https", "xn--bcher-kva.example", 443),
    "https://xn--bcher-kva.example": ("https", "xn--bcher-kva.example", 443),
    "https://8.8.8.8": ("https", "8.8.8.8", 443),
    "https://[2606:4700:0:0::1111]:1": ("https", "2606:4700::1111", 1),
    "https://[::FFFF:8.8.8.8]": ("https", str(IPv6Address("::ffff:8.8.8.8")), 443),  # as Python writes it
    "//labels.example": ("http", "labels.example", 80),
    "\x00 https://labels.example\r\n ": ("https", "labels.example", 443),
}


@pytest.mark.parametrize("address", HOSTS)
def test_a_host_is_what_everybody_reads(address: str) -> None:
    assert resolved(address, BASE).origin == HOSTS[address]


@pytest.mark.parametrize("url", ["http://[0:0::1]:80", "https://B\u00dcCHER.example/api", "HTTPS://API.example:443/v1"])
def test_an_origin_in_the_settings_is_the_same_as_the_carriers(url: str) -> None:
    assert origin_of(url) == resolved(url, BASE).origin


DOUBTFUL = [
    "https://labels.example\\@evil.example/",
    "https://labels.example\\.evil.example/",
    "https:\\\\evil.example/",
    "\\\\evil.example/",
    "/\\evil.example/",
    "\\/evil.example/",
    "https:///evil.example/",
    "https:evil.example/",
    "https:/evil.example/",
    "https://",
    "https://:443/",
    "https://labels.example@evil.example/",
    "https://@evil.example/",
    "https://a@b@evil.example/",
    "https://a:b@evil.example/",
    "https://labels.example:80@evil.example/",
    "https://labels.example%40evil.example/",
    "https://%6cabels.example/",
    "https://labels.example%00.evil.example/",
    "https://labels.example:443:80/",
    "https://labels.example:0/",
    "https://labels.example:65536/",
    "https://labels.example:\u0664\u0664\u0663/",
    "https://labels.example:+443/",
    "https://labels.example:4 43/",
    "https://labels.example: 443/",
    "https://labels.exa mple/",
    "https://labels.exa\tmple/",
    "https://labels.example/a\tb",
    "ht\ntps://evil.example/",
    "/a\r\nHost: evil.example",
    "https://labels.exa\x00mple/",
    "https://labels.example,evil.example/",
    "https://labels..example/",
    "https://.labels.example/",
    "https://..",
    "https://[::1",
    "https://::1/",
    "https://[::1]evil.example/",
    "https://evil.example[::1]/",
    "https://[[::1]]/",
    "https://[fe80::1%25lo]/",
    "https://[fe80::1%lo]/",
    "https://[v1.a]/",
    "https://[8.8.8.8]/",
    "https://0x7f.1/",
    "https://0X7F000001/",
    "https://2130706433/",
    "https://017700000001/",
    "https://127.1/",
    "https://8.8.8.8./",
    "https://8.8.8.08/",
    "https://labels.example.1/",
    "https://127\u30020\u30020\u30021/",
    "https://labels\uff0eexample/",
    "https://labels\uff61example/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://evil.example\uff0flabels.example/",
    "https://evil.example\uff20labels.example/",
    "https://labels.example\uff1a443/",
    "https://e\u200bvil.example/",
    "https://\ud83d/",
    "https://labels.example/\ud83d",
    "https://" + "a." * 127 + "a/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "\u00fc" * 5000 + "/",
    "https://labels.example/" + "a" * MAX_BYTES,
    "a" * (MAX_BYTES + 1),
    "ftp://labels.example/",
    "javascript:alert(1)",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("address", DOUBTFUL)
def test_what_can_be_read_in_two_ways_is_refused_and_not_quoted(address: str) -> None:
    with pytest.raises(NotAnAddress) as caught:
        resolved(address, BASE)
    assert "example" not in str(caught.value)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("bytes_", [b"https://\xff.example/", b"https://\xe9t\xe9.example/"])
def test_a_redirects_host_is_utf_8_or_none(bytes_: bytes) -> None:
    with pytest.raises(NotAnAddress):
        resolved(bytes_.decode("latin-1"), BASE, "latin-1")


PIECES = ["https:", "http:", "//", "/", "\\", "?", "#", "@", ":", "[", "]", "::1", "127.0.0.1", "0x7f", "%", "%40", "."]
PIECES += ["..", "labels.example", "evil", "443", "\t", " ", "\x7f", "\u3002", "\uff0f", "\u00fc", "\u212a", "-", "_"]


@settings(database=None, deadline=None, max_examples=400)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.characters()), max_size=12).map("".join))
def test_every_reader_finds_the_same_host_in_what_was_not_refused(text: str) -> None:
    for reference in (text, f"https://{text}"):
        try:
            address = resolved(reference, BASE)
        except NotAnAddress:
            continue
        assert address.target.startswith("/")
        assert all("\x21" <= char <= "\x7e" and char != "#" for char in address.target)
        scheme, host, port = address.origin
        spelled = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        readings = [(urlsplit(spelled).hostname, urlsplit(spelled).port)]
        readings += [(URL(spelled).raw_host, URL(spelled).port)]
        url = httpx.URL(scheme=scheme, host=host, port=port)
        readings += [(url.raw_host.decode(), url.port or {"http": 80, "https": 443}[scheme])]
        assert readings == [(host, port)] * 3
        assert resolved(spelled + address.target, BASE) == address
