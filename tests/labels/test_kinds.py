"""A label is of the kind that its bytes say, whole, and one that this account accepts."""

import asyncio
import hashlib
import struct
import time
import zlib

import pytest

from tests.labels.pdfs import pdf
from worker.labels import NotALabel, VerifiedLabel, media_type_of, verify_label
from worker.labels.images import LONGEST_SIDE, MOST_CHUNKS

ALL = ("application/pdf", "image/png", "application/zpl")
START = b"\x89PNG\r\n\x1a\n"
ZPL = b"^XA\r\n^FO50,50^A0N,40^FDJan Jansen^FS\n^XZ"


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(width: int = 2, height: int = 2, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


RAW = zlib.compress(b"\0\0\0" * 2)
IDAT = chunk(b"IDAT", RAW)
IEND = chunk(b"IEND")
TEXT = chunk(b"tEXt", b"Author\0Jan Jansen")
PNG = START + header() + TEXT + IDAT + IEND


async def reason(content: bytes, *media_types: str) -> str:
    with pytest.raises(NotALabel) as caught:
        await verify_label(content, pages=1, media_types=media_types or ALL)
    assert "Jan" not in caught.value.reason
    assert len(caught.value.reason) <= 200
    return caught.value.reason


@pytest.mark.parametrize(
    ("content", "media_type", "pages"),
    [(pdf(2), "application/pdf", 2), (PNG, "image/png", None), (ZPL, "application/zpl", None)],
    ids=["pdf", "png", "zpl"],
)
async def test_a_whole_label_of_each_kind_is_known_by_its_bytes(
    content: bytes, media_type: str, pages: int | None
) -> None:
    label = await verify_label(content, pages=2, media_types=ALL)
    assert label == VerifiedLabel(content, media_type, pages, hashlib.sha256(content).hexdigest())
    assert media_type_of(content) == media_type


async def test_a_pdf_is_all_that_is_accepted_unless_said_otherwise() -> None:
    assert (await verify_label(pdf(), pages=1)).media_type == "application/pdf"
    for content in (PNG, ZPL):
        with pytest.raises(NotALabel, match="not a PDF but"):
            await verify_label(content, pages=1)


@pytest.mark.parametrize(
    ("content", "accepted", "said"),
    [
        (pdf(), ("image/png",), "not a PNG image but a PDF ("),
        (PNG, ("application/pdf", "application/zpl"), "not a PDF or a ZPL printer label but a PNG image ("),
        (ZPL, ("image/png",), "not a PNG image but a ZPL printer label ("),
        (b"<!DOCTYPE html><p>Jan Jansen", ALL, "but an HTML page"),
        (b"GIF89a", ("image/gif",), "not image/gif but a GIF image"),
        (b"", ALL, "but empty"),
        (b"\n" + PNG, ("image/png",), "not a PNG image but 1 stray byte(s) with a PNG image behind them"),
        (b"Jan\n" + pdf(), ("image/png",), "not a PNG image but a PDF ("),
        (b"^xa^fdJan^xz", ("application/zpl",), "not a ZPL printer label but unknown text"),
        (b"^FDJan", ("application/zpl",), "not a ZPL printer label but unknown text"),
    ],
)
async def test_a_kind_that_is_not_accepted_is_named(content: bytes, accepted: tuple[str, ...], said: str) -> None:
    told = await reason(content, *accepted)
    assert said in told
    wanted, _, found = told.removeprefix("not ").partition(" but ")
    assert not found.startswith(wanted)


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"{}", b"<html>", b"GIF89a", b"PK\x03\x04", b"\n" + PNG, b"^xa^xz", b"~DG"]
)
def test_the_media_type_of_what_cannot_be_verified_is_unknown(content: bytes) -> None:
    assert media_type_of(content) is None


async def test_a_pdf_is_held_to_its_pages_whatever_else_is_accepted() -> None:
    assert "3 page(s) where 1 were expected" in await reason(pdf(3))


async def test_a_png_cut_off_anywhere_is_refused() -> None:
    for length in range(len(START), len(PNG)):
        told = await reason(PNG[:length])
        assert "cut off" in told, (length, told)


async def test_a_png_with_any_bit_wrong_is_refused() -> None:
    for at in range(len(START), len(PNG)):
        damaged = bytearray(PNG)
        damaged[at] ^= 1
        assert "PNG" in await reason(bytes(damaged))


BROKEN = {
    "nothing": (START, "no end mark"),
    "wrong checksum": (PNG.replace(b"Jan", b"Pan"), "checksum"),
    "no picture": (START + header() + IEND, "no IDAT"),
    "no end": (START + header() + IDAT, "IEND"),
    "no header": (START + IDAT + IEND, "header (IHDR)"),
    "header later": (START + TEXT + header() + IDAT + IEND, "header (IHDR)"),
    "a second header": (START + header() + header(60000, 60000) + IDAT + IEND, "header (IHDR)"),
    "short header": (START + chunk(b"IHDR", b"\0\0\0\1\0\0\0\1") + IDAT + IEND, "8 bytes, not 13"),
    "no width": (START + header(0, 5) + IDAT + IEND, "0 x 5 pixels"),
    "no height": (START + header(5, 0) + IDAT + IEND, "5 x 0 pixels"),
    "too wide": (START + header(LONGEST_SIDE + 1, 1) + IDAT + IEND, "pixels"),
    "huge": (START + header(2**31 - 1, 2**31 - 1) + IDAT + IEND, "pixels"),
    "a chunk longer than the file": (START + header() + struct.pack(">I", 2**32 - 1) + b"IDAT" + IEND, "cut off"),
    "JPEG behind the signature": (START + b"\xff\xd8\xff\xe0" * 9, "cut off"),
    "chunks without end": (START + header() + IDAT * MOST_CHUNKS + IEND, "more than"),
    "a depth that there is not": (START + header(depth=3) + IDAT + IEND, "colour type 0 with 3 bits"),
    "a colour type that there is not": (START + header(colour=5) + IDAT + IEND, "colour type 5 with 8 bits"),
    "an interlacing that there is not": (START + header(interlace=2) + IDAT + IEND, "stored in a way that is unknown"),
    "a palette that is missing": (START + header(colour=3) + IDAT + IEND, "palette"),
    "garbage": (START + header() + chunk(b"IDAT", b"Jan Jansen") + IEND, "does not decompress"),
    "an empty picture": (START + header() + chunk(b"IDAT") + IEND, "ends too early"),
    "no checksum of the picture": (START + header() + chunk(b"IDAT", RAW[:-4]) + IEND, "ends too early"),
    "a wrong checksum of the picture": (
        START + header() + chunk(b"IDAT", RAW[:-1] + b"!") + IEND,
        "does not decompress",
    ),
    "too few lines": (START + header(2, 3) + IDAT + IEND, "6 bytes of picture, not 9"),
    "too many lines": (START + header(2, 1) + IDAT + IEND, "more than the 3 bytes"),
    "lines too short": (START + header(3, 2) + IDAT + IEND, "6 bytes of picture, not 8"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_png_that_is_not_whole_is_refused(name: str) -> None:
    content, said = BROKEN[name]
    assert said in await reason(content)


@pytest.mark.parametrize("behind", [b"\n", b"MZ" * 500, PNG, bytes(9)], ids=["line end", "program", "picture", "NULs"])
async def test_a_png_may_have_bytes_behind_it(behind: bytes) -> None:
    assert (await verify_label(PNG + behind, pages=1, media_types=ALL)).content == PNG + behind


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(
    ("colour", "depth", "bits"), [(0, 1, 1), (0, 16, 16), (2, 8, 24), (3, 4, 4), (4, 8, 16), (6, 16, 64)]
)
async def test_a_png_has_as_many_bytes_as_its_kind_of_pixels_needs(
    colour: int, depth: int, bits: int, interlace: int
) -> None:
    def taken(width: int, height: int) -> int:
        passes = ADAM7 if interlace else ((0, 0, 1, 1),)
        total = 0
        for left, top, right, down in passes:
            columns, rows = len(range(left, width, right)), len(range(top, height, down))
            total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
        return total

    for width, height in ((1, 1), (3, 2), (4, 9), (17, 5), (64, 3)):
        start = START + header(width, height, depth, colour, interlace) + chunk(b"PLTE", bytes(48))
        for size, wanted in ((taken(width, height), True), (taken(width, height) - 1, False)):
            halves = zlib.compress(bytes(size))
            content = start + chunk(b"IDAT", halves[:5]) + chunk(b"IDAT", halves[5:]) + IEND
            if wanted:
                assert (await verify_label(content, pages=1, media_types=ALL)).media_type == "image/png"
            else:
                assert "bytes of picture, not" in await reason(content)


# Where each of the seven passes begins and how far its pixels are apart: PNG, section 8.1.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


async def test_a_png_of_the_largest_size_is_taken_and_a_bomb_is_not() -> None:
    lines = zlib.compress(bytes(LONGEST_SIDE * (1 + LONGEST_SIDE // 8)), 9)
    start = START + header(LONGEST_SIDE, LONGEST_SIDE, 1)
    label = await verify_label(start + chunk(b"IDAT", lines) + IEND, pages=None, media_types=("image/png",))
    assert label.byte_count < 100_000
    bomb = zlib.compress(bytes(5_000_000), 9)  # in a picture of four pixels
    assert "more than the 6 bytes" in await reason(START + header() + chunk(b"IDAT", bomb) + IEND)
    colours = START + header(LONGEST_SIDE, LONGEST_SIDE, 16, 6)
    assert "more than 300 MB" in await reason(colours + chunk(b"IDAT", lines) + IEND)


async def test_a_png_of_a_million_chunks_does_not_stop_the_event_loop() -> None:
    content = START + header() + chunk(b"tEXt") * 1_000_000 + IDAT + IEND
    started = time.monotonic()
    task = asyncio.create_task(reason(content))
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert "more than" in await task
    assert turns > 1
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "content",
    [b" \r\n\t" + ZPL + b"\r\n\f ", b"\xef\xbb\xbf" + ZPL, b"\xef\xbb\xbf\r\n" + ZPL + b"\n", ZPL + b"\n" + ZPL],
    ids=["white space", "byte order mark", "both", "two labels"],
)
async def test_zpl_may_have_white_space_around_it(content: bytes) -> None:
    assert (await verify_label(content, pages=1, media_types=ALL)).content == content


async def test_zpl_cut_off_anywhere_is_refused() -> None:
    for length in range(3, len(ZPL)):
        assert "cut off" in await reason(ZPL[:length])


@pytest.mark.parametrize(
    "head",
    [
        b"CT~~CD,~CC^~CT~\r\n",
        b"\x10CT~~CD,~CC^~CT~\r\n^XA~TA000~JSN^LT0^MNW^XZ\r\n",
        b"~DGR:LOGO.GRF,8,1,FF00FF00FF00FF00\r\n",
        b"^IDp0000000^FS~DGp0000000,00126,006,V0EP01\r\n",
        b"^FX Jan's label ^FS\n",
        b"~SD15~JSN\n",
        b"\xef\xbb\xbf\r\n~JA",
        b"\x10\x10",
    ],
)
async def test_zpl_may_begin_with_what_prepares_the_printer(head: bytes) -> None:
    content = head + ZPL + b"\r\n"
    assert (await verify_label(content, pages=1, media_types=ALL)).media_type == "application/zpl"
    assert media_type_of(content) == "application/zpl"
    assert "cut off" in await reason(head + ZPL[:-3])


@pytest.mark.parametrize("byte", b"\x04\x1c\x1d\x1e\x1f")
async def test_zpl_may_hold_the_separators_of_bar_codes(byte: int) -> None:
    content = ZPL.replace(b"Jansen", bytes([byte]))
    assert (await verify_label(content, pages=1, media_types=ALL)).content == content


ALLOWED = b"\t\n\r\f\x04\x1c\x1d\x1e\x1f"


@pytest.mark.parametrize("byte", [each for each in (*range(0x20), 0x7F) if each not in ALLOWED])
async def test_zpl_with_another_control_character_is_refused(byte: int) -> None:
    told = await reason(ZPL.replace(b"Jansen", bytes([byte])))
    assert f"control character (0x{byte:02x}) at byte" in told


@pytest.mark.parametrize("end", [b"\0", b"<html>", b"^XA", b"\x1b[2J"])
async def test_nothing_but_white_space_may_follow_the_zpl(end: bytes) -> None:
    assert "ZPL" in await reason(ZPL + end)


async def test_zpl_may_hold_any_letters() -> None:
    content = "^XA^CI28^FDZoë, Łódź, Αθήνα^FS^XZ".encode()
    assert (await verify_label(content, pages=1, media_types=ALL)).media_type == "application/zpl"


async def test_zpl_behind_something_else_is_not_zpl() -> None:
    assert "unknown text" in await reason(b"Jan Jansen " + ZPL)
    assert "HTML" in await reason(b"<html>" + ZPL)
