"""What a body is, whatever its headers say: encodings and charsets are read or said, within a bound."""

import gzip
import json
import zlib
from typing import Any

import pytest

from tests.carriers.pilot import document, listed, piloting
from tests.carriers.wire import KEY, http, opened, raw_server, sends
from worker.carriers.edge import MAX_JSON_BYTES
from worker.carriers.port import OutcomeUnknown, Unavailable, Unintelligible
from worker.carriers.replies import Reply
from worker.domain.outcomes import Created
from worker.http.bodies import as_text, charset_of, narrowed, unpacked
from worker.http.transport import AiohttpTransport

CREATED = b'{"orderNumber": "9RET1", "packages": []}'


def deflated(content: bytes, window: int) -> bytes:
    stream = zlib.compressobj(wbits=window)
    return stream.compress(content) + stream.flush()


def wrong_checksum(content: bytes) -> bytes:
    packed = gzip.compress(content)
    return packed[:-8] + bytes(8)


READ = {
    "gzip": ("gzip", gzip.compress(CREATED)),
    "x-gzip": ("X-GZip", gzip.compress(CREATED)),
    "gzip of several members": ("gzip", gzip.compress(CREATED[:9]) + gzip.compress(CREATED[9:])),
    "gzip and more behind it": ("gzip", gzip.compress(CREATED) + bytes(20)),
    "gzip with a wrong checksum": ("gzip", wrong_checksum(CREATED)),
    "deflate": ("deflate", deflated(CREATED, 15)),
    "deflate without a frame": ("deflate", deflated(CREATED, -15)),
    "two, one after the other": ("deflate, gzip", gzip.compress(deflated(CREATED, 15))),
    "identity": ("identity", CREATED),
    "plain, says gzip": ("gzip", CREATED),
    "plain, says deflate": ("deflate", CREATED),
    "plain, says br": ("br", CREATED),
    "plain, says zstd": ("zstd", CREATED),
    "plain, says utf-8": ("UTF-8", CREATED),
    "plain, says nothing": ("", CREATED),
    "plain, says nonsense": ("none, gzip ,", CREATED),
}


@pytest.mark.parametrize(("coding", "body"), READ.values(), ids=READ)
async def test_an_encoding_costs_no_order_number_that_can_be_read(coding: str, body: bytes) -> None:
    async with raw_server(sends(http(body, f"Content-Encoding: {coding}"))) as wire, opened(wire.url) as account:
        assert (await account.create()).carrier_ref == "9RET1"


SAID = {
    "br": ("br", b"\x0b\x13\x80" + bytes(range(128, 160)), "encoded as br"),
    "zstd": ("zstd", b"\x28\xb5\x2f\xfd\x24\x28", "encoded as zstd"),
    "gzip that is cut": ("gzip", gzip.compress(CREATED)[:25], "gzip is cut off"),
    "gzip that is broken": ("gzip", gzip.compress(CREATED)[:10] + b"\xff" * 40, "broken"),
    "too many": (", ".join(["gzip"] * 50), b"\x1f\x8b\x08", "encoded 50 times over"),
}


@pytest.mark.parametrize(("coding", "body", "said"), SAID.values(), ids=SAID)
async def test_an_encoding_that_cannot_be_read_is_said(coding: str, body: bytes, said: str) -> None:
    for status in ("200 OK", "500 Oops"):
        answer = http(body, f"Content-Encoding: {coding}", status=status)
        async with raw_server(sends(answer)) as wire, opened(wire.url) as account:
            asked, made = await account.failure("track"), await account.failure("create")
            assert (type(asked), type(made)) == (Unavailable, OutcomeUnknown)
            if status.startswith("200"):
                assert said in asked.message
                assert said in made.message
                label = await account.failure("label")
                assert type(label) is Unintelligible
                assert said in label.message


BOMBS = {
    "gzip": ("gzip", gzip.compress(bytes(50_000_000))),
    "deflate": ("deflate", deflated(bytes(50_000_000), 15)),
    "gzip of gzip": ("gzip, gzip", gzip.compress(gzip.compress(bytes(500_000_000), 1))),
    "many members": ("gzip", gzip.compress(bytes(100_000)) * 1000),
}


@pytest.mark.parametrize(("coding", "body"), BOMBS.values(), ids=BOMBS)
async def test_what_unpacks_to_more_than_the_bound_is_not_unpacked(coding: str, body: bytes) -> None:
    assert len(unpacked(body, coding, MAX_JSON_BYTES)[0]) <= MAX_JSON_BYTES + 1
    async with raw_server(sends(http(body, f"Content-Encoding: {coding}"))) as wire, opened(wire.url) as account:
        error = await account.failure("create")
        assert type(error) is OutcomeUnknown
        assert f"larger than {MAX_JSON_BYTES} bytes" in error.message


async def test_a_packed_label_is_unpacked_and_a_plain_one_taken_as_it_is() -> None:
    pdf = b"%PDF-1.4 \xe2\xe3\xcf\xd3"
    for body in (pdf, gzip.compress(pdf)):
        answer = http(body, "Content-Encoding: gzip", "Content-Type: application/pdf;charset=ISO-8859-1")
        async with raw_server(sends(answer)) as wire, opened(wire.url) as account:
            assert (await account.label()).content == pdf


WORD = "Zürich €"
CHARSETS = {
    "utf-8": (WORD.encode(), ""),
    "utf-8, says latin-1": (WORD.encode(), "; charset=iso-8859-1"),
    "utf-8 with a mark": (b"\xef\xbb\xbf" + WORD.encode(), "; charset=utf-8"),
    "windows-1252": (WORD.encode("cp1252"), '; charset="Windows-1252"'),
    "windows-1252, says latin-1": (WORD.encode("cp1252"), "; charset=ISO-8859-1"),
    "windows-1252, says us-ascii": (WORD.encode("cp1252"), "; charset=us-ascii"),
    "iso-8859-15": (WORD.encode("iso-8859-15"), "; charset=ISO-8859-15"),
    "utf-16 with a mark": (WORD.encode("utf-16"), ""),
    "utf-16, little end first": (WORD.encode("utf-16-le"), "; charset=utf-16"),
    "utf-16, big end first": (WORD.encode("utf-16-be"), "; charset=utf-16"),
    "utf-32": (WORD.encode("utf-32"), "; charset=utf-32"),
}


def in_charset(word: bytes) -> bytes:
    """A JSON text around `word`, in the charset that it is in."""
    head, tail = b'{"status": "', b'"}'
    if word.startswith(b"\xef\xbb\xbf"):
        return b"\xef\xbb\xbf" + head + word[3:] + tail
    for charset in ("utf-32", "utf-16", "utf-16-le", "utf-16-be"):
        if word == WORD.encode(charset):
            return (head.decode() + WORD + tail.decode()).encode(charset)
    return head + word + tail


@pytest.mark.parametrize(("word", "parameter"), CHARSETS.values(), ids=CHARSETS)
async def test_text_is_read_in_its_charset(word: bytes, parameter: str) -> None:
    answer = http(in_charset(word), f"Content-Type: application/json{parameter}")
    async with raw_server(sends(answer)) as wire, opened(wire.url) as account:
        assert (await account.track()).carrier_status == WORD


UNREADABLE = [
    "",
    "; charset=utf-8",
    "; charset=utf-7",
    "; charset=unicode_escape",
    "; charset=iso-8859-12",
    "; charset=",
]


@pytest.mark.parametrize("parameter", UNREADABLE)
async def test_bytes_that_do_not_decode_are_replaced_and_cost_no_order_number(parameter: str) -> None:
    body = '{"orderNumber": "9RET1", "packages": [{"labelCode": "7RET1", "description": "Käse"}]}'.encode("latin-1")
    answer = http(body, f"Content-Type: application/json{parameter}")
    async with raw_server(sends(answer)) as wire, opened(wire.url) as account:
        created = await account.create()
        assert (created.carrier_ref, created.packages[0].label_code) == ("9RET1", "7RET1")
        assert created.packages[0].description == "K\ufffdse"
        assert "K\ufffdse" in created.raw


async def test_a_number_with_replaced_bytes_is_none() -> None:
    async with raw_server(sends(http(b'{"orderNumber": "9RET\xff1"}'))) as wire, opened(wire.url) as account:
        assert type(await account.failure("create")) is OutcomeUnknown


async def test_a_customer_s_link_with_replaced_bytes_is_none() -> None:
    body = b'{"id": 10011, "return_url": "https://app.returnpilot.co/r/\xff"}'
    async with raw_server(sends(http(body))) as wire, _pilot(wire.url) as pilot:
        created = await pilot.create()
        assert (created.carrier_ref, created.return_url) == ("10011", None)


@pytest.mark.parametrize("reference", [b"ORD-1234\xff", b"\xe9", "\ufffdRD-12345".encode()])
async def test_an_order_whose_reference_does_not_decode_is_not_proof_that_ours_is_absent(reference: bytes) -> None:
    page = json.dumps(listed(document(reference="XX"))).encode().replace(b"XX", reference)
    async with raw_server(sends(http(page))) as wire, _pilot(wire.url) as pilot:
        assert type(await pilot.failure("look_up")) is Unintelligible
    both = json.dumps(listed(document(id=5, reference="XX"), document(created_at="2024-12-20 12:00:00"))).encode()
    async with raw_server(sends(http(both.replace(b"XX", reference)))) as wire, _pilot(wire.url) as pilot:
        found = await pilot.look_up()
        assert isinstance(found, Created)
        assert found.carrier_ref == "10011"


def _pilot(url: str) -> Any:
    return piloting(base_url=url, transport=AiohttpTransport(timeout=5.0))


ECHOES = {
    "utf-16": KEY.encode("utf-16"),
    "utf-16 without a mark": KEY.encode("utf-16-le"),
    "utf-16, big end first": KEY.encode("utf-16-be"),
    "utf-32": KEY.encode("utf-32"),
    "escaped, in utf-16": "".join(f"\\u{ord(char):04x}" for char in KEY).encode("utf-16-le"),
    "latin-1": KEY.encode("latin-1") + b"\xff",
    "gzip": gzip.compress(KEY.encode()),
}


@pytest.mark.parametrize("body", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Oops"])
async def test_a_key_that_is_echoed_in_any_dress_is_not_shown(body: bytes, status: str) -> None:
    headers = ["Content-Encoding: gzip"] if body.startswith(b"\x1f\x8b") else []
    async with raw_server(sends(http(body, *headers, status=status))) as wire, opened(wire.url) as account:
        for operation in ("track", "create"):
            error = await account.failure(operation)
            shown = json.dumps(error.message) + error.message + (error.raw or "")
            assert "s3cret" not in shown
            assert "\\u0073\\u0033" not in shown


def test_wide_text_becomes_utf_8_and_nothing_else_is_touched() -> None:
    assert narrowed('{"a": "é"}'.encode("utf-16")) in ('{"a": "é"}'.encode(), '\ufeff{"a": "é"}'.encode())
    for binary in (b"%PDF-1.4\x00\xff", b"\x89PNG\r\n\x1a\n\x00", b"^XA^XZ", b"II*\x00", b"", b"\x00", b"{"):
        assert narrowed(binary) == binary


def test_a_charset_is_one_that_cannot_bring_back_what_was_masked() -> None:
    for refused in ("utf-7", "unicode_escape", "rot13", "idna", "hex", "utf-16", "iso-2022-jp", "x" * 1000, "a\0b", ""):
        assert charset_of(f"application/json; charset={refused}") == ""
        assert as_text(b"+ADs\xff", f"text/plain; charset={refused}") == "+ADs\ufffd"
    for charset in ("iso-8859-1", "ISO8859_15", "windows-1252", "cp1250", "latin-1", "koi8-r", "gb18030", "shift_jis"):
        assert charset_of(f'text/html; Charset = "{charset}"') == charset.lower()
        assert as_text(bytes(range(32, 127)), f"text/html; charset={charset}") == bytes(range(32, 127)).decode()


def test_an_unknown_charset_is_said_where_it_matters() -> None:
    reply = Reply(200, {"content-type": "application/json; charset=utf-7"}, b"+AHs-\xff")
    with pytest.raises(Unintelligible, match="its charset is none that is known here"):
        reply.json_object()


async def test_the_second_carrier_reads_alike() -> None:
    answer = http(gzip.compress(b'{"id": 7}'), "Content-Encoding: gzip")
    async with raw_server(sends(answer)) as wire, _pilot(wire.url) as pilot:
        assert (await pilot.create()).carrier_ref == "7"
