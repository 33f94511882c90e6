"""A label is of the kind that its bytes say, whole, and one that this account accepts."""

import asyncio
import hashlib
import struct
import time
import zlib

import pytest

from tests.labels.test_verify import pdf
from worker.labels import NotALabel, VerifiedLabel, verify_label
from worker.labels.images import LONGEST_SIDE, MOST_CHUNKS

ALL = ("application/pdf", "image/png", "application/zpl")
START = b"\x89PNG\r\n\x1a\n"
ZPL = b"^XA\r\n^FO50,50^A0N,40^FDJan Jansen^FS\n^XZ"


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(width: int = 2, height: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


IDAT = chunk(b"IDAT", zlib.compress(b"\0\0\0" * 2))
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
    ],
)
async def test_a_kind_that_is_not_accepted_is_named(content: bytes, accepted: tuple[str, ...], said: str) -> None:
    assert said in await reason(content, *accepted)


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
    "one byte after the end": (PNG + b"\n", "1 stray byte(s)"),
    "a program after the end": (PNG + b"MZ" * 500, "1000 stray byte(s)"),
    "a second picture after the end": (PNG + PNG, "stray byte(s)"),
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
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_png_that_is_not_whole_is_refused(name: str) -> None:
    content, said = BROKEN[name]
    assert said in await reason(content)


async def test_a_png_of_the_largest_size_is_taken_and_its_pixels_are_never_unpacked() -> None:
    bomb = chunk(b"IDAT", zlib.compress(bytes(50_000_000), 9))
    label = await verify_label(
        START + header(LONGEST_SIDE, LONGEST_SIDE) + bomb + IEND, pages=None, media_types=("image/png",)
    )
    assert label.byte_count < 100_000


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


@pytest.mark.parametrize("byte", [each for each in (*range(0x20), 0x7F) if each not in b"\t\n\r\f"])
async def test_zpl_with_a_control_character_is_refused(byte: int) -> None:
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
