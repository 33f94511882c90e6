"""Labels as they come in life, good and bad: each is what it says, whether a fault or a magic word asked for it."""

import io
import re
import zlib

import pytest
from pypdf import PdfReader
from pypdf.constants import UserAccessPermissions
from pypdf.errors import FileNotDecryptedError

from worker.simulator.faults import changed_label
from worker.simulator.labels import LABEL_CHANGES, stripes_png, text_zpl
from worker.simulator.pdf import text_pdf

PRINT = UserAccessPermissions.PRINT


def read(content, **options):
    return PdfReader(io.BytesIO(content), **options)


def texts(content, **options):
    return [page.extract_text() for page in read(content, **options).pages]


def streams(content):
    """What stands between `stream` and `endstream`, as its bytes are."""
    return re.findall(rb"(?s)(?<!end)stream\r?\n(.*?)\r?\nendstream", content)


def pixels(png):
    """The bytes in the picture's IDAT."""
    at = png.index(b"IDAT")
    return png[at + 4 : at + 4 + int.from_bytes(png[at - 4 : at])]


async def served(client, word, **changes):
    """The label of a return with that word, and that of one without it by the fault of the same name."""
    number = await client.created(f"return {word}", **changes)
    client.simulator.inject("label", changed_label(word.removeprefix("sim:").removesuffix("-label")))
    by_fault_too = await client.label(await client.created("plain", **changes))
    by_word = await client.label(number)
    assert (by_word.status, by_word.headers["Content-Type"]) == (200, "application/pdf")
    assert (by_fault_too.status, by_fault_too.headers["Content-Type"]) == (200, "application/pdf")
    return by_word.body, by_fault_too.body


async def test_a_label_s_content_is_compressed_and_holds_a_line_feed_as_a_real_one_s_does(client):
    label = (await client.label(await client.created())).body
    assert len(texts(label, strict=True)) == 2
    for stream in streams(label):
        assert b"Tj" in zlib.decompress(stream)
        assert b"\n" in stream[: len(stream) // 2]


@pytest.mark.parametrize("word", ["sim:mangled-label", "sim:crlf-label", "sim:garbage-label"])
async def test_what_a_codec_or_garbage_left_has_its_pages_and_nothing_that_inflates(client, word):
    for label in await served(client, word):
        assert len(read(label).pages) == 2
        assert label.rstrip().endswith(b"%%EOF")
        assert len(streams(label)) == 2
        for stream in streams(label):
            with pytest.raises(zlib.error):
                zlib.decompress(stream)
        assert b"\xef\xbf\xbd" in label or word != "sim:mangled-label"
        assert b"\r\n" in label or word != "sim:crlf-label"  # garbage may have one, too


async def test_both_marks_of_a_codec_can_be_had_together(client):
    label = (await client.label(await client.created("sim:crlf-label sim:mangled-label"))).body
    assert label.decode("utf-8").startswith("%PDF-1.4\r\n%\ufffd")


async def test_a_label_cut_off_is_announced_whole_and_ends_in_the_middle(client):
    for label in await served(client, "sim:cut-label"):
        assert label.startswith(b"%PDF-")
        assert b"%%EOF" not in label


@pytest.mark.parametrize(
    ("word", "pages"), [("sim:extra-page-label", 3), ("sim:lost-page-label", 1), ("sim:blank-label", 2)]
)
async def test_pages_can_be_too_many_too_few_or_blank(client, word, pages):
    for label in await served(client, word):
        found = texts(label)
        assert len(found) == pages
        assert all(("IZIPACK" in text) == (word != "sim:blank-label") for text in found)


async def test_the_only_page_can_be_lost(client, request_body):
    for label in await served(client, "sim:lost-page-label", packages=request_body["packages"][:1]):
        assert len(read(label).pages) == 0


@pytest.mark.parametrize(
    ("word", "version", "revision"),
    [("sim:encrypted-label", 5, 6), ("sim:aes128-label", 4, 4), ("sim:rc4-label", 2, 3)],
)
async def test_an_encrypted_label_opens_without_a_password_and_may_be_printed(client, word, version, revision):
    for label in await served(client, word):
        reader = read(label)
        encryption = reader.trailer["/Encrypt"]
        assert (encryption["/V"], encryption["/R"]) == (version, revision)
        assert reader.user_access_permissions & PRINT
        assert not reader.user_access_permissions & UserAccessPermissions.MODIFY
        assert "IZIPACK" in reader.pages[1].extract_text()
        assert not any(b") Tj" in stream for stream in streams(label))


async def test_a_locked_label_opens_by_its_password_alone(client):
    for label in await served(client, "sim:locked-label"):
        with pytest.raises(FileNotDecryptedError):
            texts(label)
        assert "IZIPACK" in texts(label, password="secret")[0]


async def test_a_label_can_forbid_to_be_printed(client):
    for label in await served(client, "sim:no-print-label"):
        reader = read(label)
        assert not reader.user_access_permissions & PRINT
        assert "IZIPACK" in reader.pages[0].extract_text()


async def test_a_padded_label_is_whole_within_what_stands_around_it(client):
    for label in await served(client, "sim:padded-label"):
        assert 900 < label.index(b"%PDF-") <= 1024
        behind = label[label.rindex(b"%%EOF") + 5 :]
        assert b"\0" in behind
        assert behind.strip(b"\0 \r\n") == b""
        assert "IZIPACK" in texts(label)[1]


@pytest.fixture
async def picture(client, sim):
    async def fetch(words):
        order = sim.add_pilot_order(words, stage=1)
        key = {"Authorization": "Bearer RP-simulator"}
        answer = await client.call("GET", f"/labels/{order.id}/{order.id}1", key=None, headers=key)
        assert answer.status == 200
        return answer.body

    return fetch


async def test_a_png_s_pixels_can_be_garbage_under_a_true_checksum(picture):
    good, bad = await picture("sim:png"), await picture("sim:png sim:garbage-label")
    assert zlib.decompress(pixels(good))
    with pytest.raises(zlib.error):
        zlib.decompress(pixels(bad))
    at = bad.index(b"IDAT")
    end = at + 4 + len(pixels(bad))
    assert int.from_bytes(bad[end : end + 4]) == zlib.crc32(bad[at:end])
    assert bad.endswith(b"IEND\xaeB`\x82")


async def test_bytes_can_follow_a_png_s_end_and_a_printer_s_own_go_before_zpl(picture):
    good = await picture("sim:png")
    padded = await picture("sim:png sim:padded-label")
    assert padded.startswith(good)
    assert len(padded) > len(good)
    zpl = await picture("sim:zpl sim:padded-label")
    assert zpl.startswith(b"\x10CT~~CD,~CC^~CT~")
    assert zpl.endswith(b"^XZ\n")


async def test_a_change_that_a_label_does_not_know_leaves_it_alone(picture):
    assert (await picture("sim:png sim:encrypted-label")) == stripes_png()
    assert (await picture("sim:zpl sim:garbage-label")).startswith(b"^XA")


async def test_what_is_no_label_is_left_alone(client, sim):
    number = await client.created("sim:slow-label sim:mangled-label")
    assert [(await client.label(number)).status for _ in range(2)] == [404, 200]
    sim.inject("label", changed_label("encrypted"))
    bad = await client.label(await client.created("sim:bad-label sim:padded-label"))
    assert bad.body.startswith(b"<!DOCTYPE")


@pytest.mark.parametrize("first", LABEL_CHANGES)
@pytest.mark.parametrize("true", [text_pdf([["a"], ["b"]]), stripes_png(), text_zpl("a")], ids=["pdf", "png", "zpl"])
def test_any_two_changes_go_together(first, true):
    once = LABEL_CHANGES[first].apply(true)
    assert all(isinstance(change.apply(once), bytes) for change in LABEL_CHANGES.values())
