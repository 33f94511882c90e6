"""The two kinds of label that need no parser: PNG pictures and ZPL, the language of Zebra's printers."""

import re
import struct
import zlib

from worker.labels.errors import NotALabel

PNG_START = b"\x89PNG\r\n\x1a\n"
"""The signature of a PNG file: PNG 3rd edition (W3C), section 5.2."""

ZPL_START = b"^XA"
"""The command that opens a label format: ZPL II Programming Guide, `^XA`."""

LONGEST_SIDE = 20_000
"""Pixels; a 4 x 6 inch label at 600 dots per inch has 3600. More is a bomb for whoever prints it."""

MOST_CHUNKS = 100_000
"""Chunks in one picture: walking them takes Python about 0.1 s. Encoders write one for each 8 kB or more."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ZPL_END = b"^XZ"
_CHUNK = struct.Struct(">I4s")
_CRC = struct.Struct(">I")
_SIDES = struct.Struct(">II")
_HEADER_LENGTH = 13
# What a printer never needs in text, and what a file of another kind is full of.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")


def without_margin(content: bytes) -> bytes:
    """Return the content without a byte order mark and white space around it."""
    return content.removeprefix(_BYTE_ORDER_MARK).strip()


def check_png(content: bytes) -> None:
    """Raise `NotALabel` unless this is a whole PNG file (PNG 3rd edition, section 5) of a size that can be printed.

    The pixels are not decompressed: a small file can hold gigabytes of them. Takes time in proportion to the length.
    """
    chunks, at = 0, len(PNG_START)
    names: set[bytes] = set()
    while at < len(content):
        name, data, at = _next_chunk(content, at)
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise NotALabel(f"the PNG has more than {MOST_CHUNKS} chunks")
        if (chunks == 1) != (name == b"IHDR"):
            raise NotALabel("the PNG does not begin with its one header (IHDR)")
        if name == b"IHDR":
            _check_header(data)
        names.add(name)
        if name == b"IEND":
            break
    if b"IEND" not in names:
        raise NotALabel(f"the PNG is cut off: no end mark (IEND) ({len(content)} bytes)")
    if b"IDAT" not in names:
        raise NotALabel("the PNG holds no picture (no IDAT)")
    if at != len(content):
        raise NotALabel(f"{len(content) - at} stray byte(s) follow the end of the PNG")


def check_zpl(content: bytes) -> None:
    """Raise `NotALabel` unless this is ZPL from `^XA` to `^XZ` and text in between."""
    inner = without_margin(content)
    if not inner.startswith(ZPL_START):
        raise NotALabel("the ZPL does not begin with ^XA")
    if not inner.endswith(_ZPL_END):
        raise NotALabel(f"the ZPL is cut off: it does not end with ^XZ ({len(content)} bytes)")
    if (control := _CONTROL.search(content)) is not None:
        raise NotALabel(f"the ZPL holds a control character (0x{control[0][0]:02x}) at byte {control.start()}")


def _next_chunk(content: bytes, at: int) -> tuple[bytes, memoryview, int]:
    """Return the name and the data of the chunk at this place, and where the next one begins."""
    start = at + _CHUNK.size
    if start > len(content):
        raise NotALabel(f"the PNG is cut off within a chunk's head ({len(content)} bytes)")
    length, name = _CHUNK.unpack_from(content, at)
    end = start + length
    if end + _CRC.size > len(content):
        raise NotALabel(f"the PNG is cut off: a chunk at byte {at} is longer than what is left of the file")
    view = memoryview(content)
    if _CRC.unpack_from(content, end)[0] != zlib.crc32(view[at + 4 : end]):  # of the name and the data
        raise NotALabel(f"the PNG is damaged: the checksum of the chunk at byte {at} is wrong")
    return name, view[start:end], end + _CRC.size


def _check_header(data: memoryview) -> None:
    if len(data) != _HEADER_LENGTH:
        raise NotALabel(f"the PNG's header (IHDR) has {len(data)} bytes, not {_HEADER_LENGTH}")
    width, height = _SIDES.unpack_from(data)
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
        raise NotALabel(f"the PNG is {width} x {height} pixels; a side has 1 to {LONGEST_SIDE}")
