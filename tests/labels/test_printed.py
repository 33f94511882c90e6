"""A PDF is a label when its pages print: something is drawn on each, and it came through whole."""

import itertools
import random
import time
import zlib
from collections.abc import Callable

import pytest

from tests.labels.pdfs import DRAWING, ascii85_flate, flate, page, pdf, stream, written
from tests.labels.test_verify import reason
from worker.labels import verify_label
from worker.labels.converted import was_converted

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + random.Random(17).randbytes(4000) + b"\xff\xd9"
PICTURE = random.Random(17).randbytes(288 * 3)
IMAGE = b"/Type/XObject/Subtype/Image/Width 288/Height 3/BitsPerComponent 8/ColorSpace/DeviceGray"
FORM = b"/Type/XObject/Subtype/Form/BBox[0 0 288 432]"
SHOWS = b"q 288 0 0 432 0 0 cm /Shown Do Q"
ON_PAGE = b"/Contents 4 0 R/Resources<</XObject<</Shown 5 0 R>>>>"
WRAPPED = b"/Resources<</XObject<</Shown 6 0 R>>>>"
DATA = random.Random(18).randbytes(288 * 3)
TEXT = b"/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>"
WORDS = b"BT /F1 12 Tf 20 20 Td (Jan Jansen) Tj ET"
FONT = b"<</Type/Font/Subtype/TrueType/BaseFont/A/FontDescriptor 6 0 R>>"
DESCRIPTOR = b"<</Type/FontDescriptor/FontName/A/FontFile2 7 0 R>>"
APPEARANCE = b"/Annots[<</Subtype/Stamp/Rect[0 0 288 432]/F %d/AP<</N 4 0 R>>>>]"

# Every way in which labels are written: what is drawn is compressed, or the picture that is all that is drawn.
MADE = {
    "compressed content": pdf(),
    "two pages": pdf(2),
    "content in two parts": page(b"/Contents[4 0 R 5 0 R]", stream(b"q 1 0 0 1 9 9 cm"), flate(DRAWING)),
    "content in ASCII": page(b"/Contents 4 0 R", ascii85_flate(DRAWING)),
    "a picture": page(ON_PAGE, stream(SHOWS), flate(PICTURE, IMAGE)),
    "a picture under an escaped name": page(
        b"/Contents 4 0 R/Resources<</XObject<</S#68own 5 0 R>>>>",
        stream(SHOWS.replace(b"Shown", b"Show#6E")),
        flate(PICTURE, IMAGE),
    ),
    "a photograph": page(ON_PAGE, stream(SHOWS), stream(JPEG, b"/Filter/DCTDecode" + IMAGE)),
    "a form": page(ON_PAGE, stream(SHOWS), flate(DRAWING, FORM)),
    "a picture in a form": page(ON_PAGE, stream(SHOWS), stream(SHOWS, FORM + WRAPPED), flate(PICTURE, IMAGE)),
    "a picture beside text": page(ON_PAGE, stream(b"BT (A) Tj ET " + SHOWS), flate(PICTURE, IMAGE)),
    "text in a font": page(TEXT, stream(WORDS), FONT, DESCRIPTOR, stream(DATA, b"/Length1 864")),
    "text in a compressed font": page(TEXT, stream(WORDS), FONT, DESCRIPTOR, flate(DATA)),
    "a picture for the printer to unpack": page(ON_PAGE, stream(SHOWS), stream(DATA, b"/Filter/JPXDecode" + IMAGE)),
    "a picture that is not compressed": page(ON_PAGE, stream(SHOWS), stream(DATA, IMAGE)),
    "a stamp": page(APPEARANCE % 4, flate(DRAWING, FORM)),
    "a picture in a stamp": page(
        APPEARANCE % 4, stream(SHOWS, FORM + WRAPPED.replace(b"6 0", b"5 0")), flate(PICTURE, IMAGE)
    ),
}

# What a program does to a file that it takes for text, and what it leaves of a PDF that is ASCII throughout.
CODECS: dict[str, Callable[[bytes], bytes]] = {
    "UTF-8": lambda content: content.decode("utf-8", "replace").encode(),
    "ASCII": lambda content: content.decode("ascii", "replace").encode("ascii", "replace"),
    "Latin-1 to UTF-8": lambda content: content.decode("latin-1").encode(),
    "line ends": lambda content: content.replace(b"\n", b"\r\n"),
    "seven bits": lambda content: bytes(byte & 0x7F for byte in content),
}
# The ASCII spelling is made to survive this, and what has no form that could be told does not show lost bits.
UNHARMED = {
    *(("content in ASCII", codec) for codec in CODECS),
    *itertools.product(
        ("text in a font", "a picture for the printer to unpack", "a picture that is not compressed"),
        ("ASCII", "seven bits"),
    ),
}


@pytest.mark.parametrize("made", MADE)
async def test_what_prints_is_a_label(made: str) -> None:
    assert (await verify_label(MADE[made], pages=None)).content == MADE[made]


@pytest.mark.parametrize(("made", "codec"), [*itertools.product(MADE, CODECS)])
async def test_a_pdf_that_went_through_a_text_codec_is_refused(made: str, codec: str) -> None:
    mangled = CODECS[codec](MADE[made])
    assert mangled.startswith(b"%PDF-")
    assert mangled.rstrip().endswith(b"%%EOF")
    if (made, codec) in UNHARMED:
        assert (await verify_label(mangled, pages=None)).content == mangled
    else:
        await reason(mangled)


async def test_the_message_says_which_page_is_damaged_and_how() -> None:
    whole = MADE["two pages"]
    start = whole.rindex(b"stream", 0, whole.rindex(b"endstream")) + 30
    damaged = whole[:start] + b"\0" + whole[start + 1 :]
    assert damaged != whole
    assert "page 2 of the PDF is damaged: what is drawn on it does not decompress" in await reason(damaged)
    picture = page(ON_PAGE, stream(SHOWS), stream(DATA, b"/Filter/FlateDecode" + IMAGE))
    assert "page 1 of the PDF is damaged: a picture on it does not decompress" in await reason(picture)
    assert "converted as if it were text" in await reason(CODECS["UTF-8"](MADE["a picture"]))


@pytest.mark.parametrize("lost", [1, 4, 5, 40])
async def test_compressed_content_without_its_end_or_checksum_is_refused(lost: int) -> None:
    cut = stream(zlib.compress(DRAWING)[:-lost], b"/Filter/FlateDecode")
    assert "damaged" in await reason(page(b"/Contents 4 0 R", cut))
    wrong = stream(zlib.compress(DRAWING)[:-1] + b"\0", b"/Filter/FlateDecode")
    assert "damaged" in await reason(page(b"/Contents 4 0 R", wrong))


async def test_a_few_bytes_behind_compressed_content_are_no_damage() -> None:
    longer = stream(zlib.compress(DRAWING) + b"\r\n", b"/Filter/FlateDecode")
    assert (await verify_label(page(b"/Contents 4 0 R", longer), pages=1)).page_count == 1


BLANK = {
    "no content": page(b""),
    "null content": page(b"/Contents null"),
    "no content stream": page(b"/Contents[]"),
    "an empty stream": page(b"/Contents 4 0 R", stream(b"")),
    "an empty compressed stream": page(b"/Contents 4 0 R", flate(b"")),
    "white space": page(b"/Contents[4 0 R 4 0 R]", flate(b" \n")),
    "nothing but a frame for a drawing": page(b"/Contents 4 0 R", flate(b"q\n1 0 0 1 0 0 cm /S gs\nQ\n")),
    "a path that is never painted": page(b"/Contents 4 0 R", flate(b"0 0 m 9 9 l n\n")),
    "a picture that is not there": page(b"/Contents 4 0 R", stream(SHOWS)),
    "an empty form": page(ON_PAGE, stream(SHOWS), flate(b"q Q", FORM)),
    "a form that shows itself": page(ON_PAGE, stream(SHOWS), stream(SHOWS, FORM + WRAPPED.replace(b"6 0", b"5 0"))),
    "a stamp that is not printed": page(APPEARANCE % 0, flate(DRAWING, FORM)),
    "a hidden stamp": page(APPEARANCE % 6, flate(DRAWING, FORM)),
    "a note without an appearance": page(b"/Annots[<</Subtype/Link/F 4>> null 7 4 0 R]", b"[]"),
}


@pytest.mark.parametrize("name", BLANK)
async def test_a_label_that_prints_white_is_refused_and_said_to_be_blank(name: str) -> None:
    assert await reason(BLANK[name]) == "page 1 of the PDF is blank: nothing is drawn on it"


async def test_one_blank_page_among_others_is_named() -> None:
    content = written(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 2/Kids[3 0 R 4 0 R]/MediaBox[0 0 9 9]>>",
        b"<</Type/Page/Parent 2 0 R/Contents 5 0 R>>",
        b"<</Type/Page/Parent 2 0 R>>",
        flate(DRAWING),
    )
    assert "page 2 of the PDF is blank" in await reason(content)


async def test_pages_that_share_a_drawing_may_show_different_pictures_in_it() -> None:
    def shared(second: bytes) -> bytes:
        shown = b"<</Type/Page/Parent 2 0 R/Contents 5 0 R/Resources<</XObject<</Shown %d 0 R>>>>>>"
        kids = b"<</Type/Pages/Count 2/Kids[3 0 R 4 0 R]/MediaBox[0 0 9 9]>>"
        catalog = b"<</Type/Catalog/Pages 2 0 R>>"
        return written(catalog, kids, shown % 6, shown % 7, flate(SHOWS), flate(PICTURE, IMAGE), second)

    assert (await verify_label(shared(flate(PICTURE[::-1], IMAGE)), pages=2)).page_count == 2
    assert "page 2" in await reason(shared(stream(PICTURE, b"/Filter/FlateDecode" + IMAGE)))


async def test_what_is_not_drawn_may_be_damaged() -> None:
    resources = b"/Contents 4 0 R/Resources<</XObject<</Unused 5 0 R>>>>"
    content = page(resources, flate(DRAWING), stream(b"damaged", b"/Filter/FlateDecode" + IMAGE))
    assert (await verify_label(content, pages=1)).page_count == 1


@pytest.mark.parametrize(
    "picture",
    [b"/Filter/JPXDecode", b"/Filter/JBIG2Decode", b"/Filter/CCITTFaxDecode", b"/Filter/LZWDecode", b""],
)
async def test_pictures_that_only_a_printer_unpacks_are_left_to_it(picture: bytes) -> None:
    content = page(ON_PAGE, stream(SHOWS), stream(PICTURE, picture + IMAGE))
    assert (await verify_label(content, pages=1)).page_count == 1


async def test_a_drawing_in_a_form_that_cannot_be_unpacked_is_refused() -> None:
    assert "cannot be unpacked" in await reason(page(b"/Contents 4 0 R", stream(PICTURE, b"/Filter/JBIG2Decode")))


async def test_a_small_file_that_unpacks_to_gigabytes_is_refused_in_time_and_little_memory() -> None:
    engine = zlib.compressobj(9, wbits=-15)
    part = engine.compress(bytes(10_000_000)) + engine.flush(zlib.Z_FULL_FLUSH)  # ends at a byte: may be repeated
    bomb = b"\x78\xda" + part * 31
    started = time.monotonic()
    told = await reason(page(ON_PAGE, stream(SHOWS), stream(bomb, b"/Filter/FlateDecode" + IMAGE)), limit=30)
    assert "more than 300 MB" in told
    assert len(bomb) < 1_000_000
    assert time.monotonic() - started < 30


async def test_drawings_that_are_shared_without_end_are_read_once() -> None:
    forms = 40  # each shows the next one twice: 2 ** 40 drawings
    shows = b"<</XObject<</A %d 0 R/B %d 0 R>>>>"
    chain = [flate(b"/A Do /B Do", FORM + b"/Resources" + shows % (5 + at, 5 + at)) for at in range(1, forms)]
    top = page(b"/Contents 4 0 R/Resources" + shows % (5, 5), flate(b"/A Do /B Do"), *chain, flate(DRAWING, FORM))
    assert (await verify_label(top, pages=1)).page_count == 1


def test_looking_for_a_conversion_takes_time_in_proportion_to_the_length() -> None:
    started = time.monotonic()
    for content in (
        b"stream\n" * 300_000,
        b"obj/Filter stream\nendstream" * 20_000,
        b"stream\n" + b"\n" * 1_000_000,
    ):
        assert not was_converted(content)
    assert time.monotonic() - started < 10


async def test_a_pdf_that_is_ascii_with_any_line_ends_is_a_label() -> None:
    words = stream(WORDS.replace(b" ", b"\n"))
    for end in (b"\n", b"\r\n", b"\r"):
        content = page(b"/Contents 4 0 R", words).replace(b"%\xe2\xe3\xcf\xd3\n", b"").replace(b"\n", end)
        assert (await verify_label(content, pages=1)).page_count == 1
