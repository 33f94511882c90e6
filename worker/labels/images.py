"""The two kinds of label that need no parser: PNG pictures and ZPL, the language of Zebra's printers."""

import re
import struct
import zlib

from worker.labels.errors import NotALabel
from worker.labels.inflate import MOST_UNPACKED, CannotInflate, inflated

PNG_START = b"\x89PNG\r\n\x1a\n"
"""The signature of a PNG file: PNG 3rd edition (W3C), section 5.2."""

LONGEST_SIDE = 20_000
"""Pixels; a 4 x 6 inch label at 600 dots per inch has 3600. More is a bomb for the printer."""

MOST_CHUNKS = 100_000
"""Chunks in one picture: walking them takes Python about 0.1 s. Encoders write one for each 8 kB or more."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ZPL_LABEL = b"^XA"  # opens a label format: ZPL II Programming Guide
_ZPL_END = b"^XZ"
# What may come before the first label: a command, such as ~DG (a picture for later) or ^FX (a remark), or what Zebra's
# own driver sends first, a data link escape and the rest of a command that sets the delimiters back.
_ZPL_HEAD = re.compile(rb"\x10*(?:[\^~][A-Z][A-Z0-9@]|CT~~CD)")
_CHUNK = struct.Struct(">I4s")
_CRC = struct.Struct(">I")
_HEADER = struct.Struct(">IIBBBBB")
# Samples of a pixel, and the bits that each may have, by colour type: PNG 3rd edition, table 12.
_SAMPLES = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
_PALETTE = 3
# Where a pass begins and how far its pixels are apart, right and down: all at once, and section 8.1's seven passes.
_PASSES = (
    ((0, 0, 1, 1),),
    ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
# What a printer never needs in text, and what a file of another kind is full of. The separators of bar codes' data are
# needed (ISO/IEC 15434: EOT, FS, GS, RS, US), and a data link escape before a command.
_CONTROL = re.compile(rb"[\x00-\x03\x05-\x08\x0b\x0e\x0f\x11-\x1b\x7f]|\x10(?!\x10|\^XA|~|CT~~CD)")


def without_margin(content: bytes) -> bytes:
    """Return the content without a byte order mark and white space around it."""
    return content.removeprefix(_BYTE_ORDER_MARK).strip()


def begins_as_zpl(content: bytes) -> bool:
    """Whether this is ZPL by its first command, with a label somewhere behind it."""
    return _ZPL_HEAD.match(without_margin(content[:1024])) is not None and _ZPL_LABEL in content


def check_png(content: bytes) -> None:
    """Raise `NotALabel` unless this is a whole PNG file (PNG 3rd edition, section 5) of a size that can be printed.

    Its pixels must decompress to exactly as much as its header says, which is bounded. What stands behind its end mark
    is left out, as decoders leave it out.
    """
    chunks, at, expected, packed = 0, len(PNG_START), 0, []
    names: set[bytes] = set()
    while b"IEND" not in names:
        if at == len(content):
            raise NotALabel(f"the PNG is cut off: no end mark (IEND) ({len(content)} bytes)")
        name, data, at = _next_chunk(content, at)
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise NotALabel(f"the PNG has more than {MOST_CHUNKS} chunks")
        if (chunks == 1) != (name == b"IHDR"):
            raise NotALabel("the PNG does not begin with its one header (IHDR)")
        if name == b"IHDR":
            expected, palette = _picture_size(data)
        elif name == b"IDAT":
            packed.append(data)
        names.add(name)
    if not packed:
        raise NotALabel("the PNG holds no picture (no IDAT)")
    if palette and b"PLTE" not in names:
        raise NotALabel("the PNG is one of a palette, and has none (no PLTE)")
    try:
        found = sum(map(len, inflated(packed, expected)))
    except CannotInflate as error:
        raise NotALabel(f"the PNG is damaged: its picture (IDAT) {error}") from None
    if found != expected:
        raise NotALabel(f"the PNG is damaged: it has {found} bytes of picture, not {expected}")


def check_zpl(content: bytes) -> None:
    """Raise `NotALabel` unless this is text of ZPL, from a command to the `^XZ` that ends a label."""
    if not begins_as_zpl(content):
        raise NotALabel("the ZPL does not begin with a command, or has no label (no ^XA)")
    if not without_margin(content).endswith(_ZPL_END):
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


def _picture_size(header: memoryview) -> tuple[int, bool]:
    """Return the bytes that the picture decompresses to, and whether it needs a palette."""
    if len(header) != _HEADER.size:
        raise NotALabel(f"the PNG's header (IHDR) has {len(header)} bytes, not {_HEADER.size}")
    width, height, depth, colour, compression, filtering, interlacing = _HEADER.unpack(header)
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
        raise NotALabel(f"the PNG is {width} x {height} pixels; a side has 1 to {LONGEST_SIDE}")
    samples, depths = _SAMPLES.get(colour, (0, ()))
    if depth not in depths:
        raise NotALabel(f"the PNG has colour type {colour} with {depth} bits, which there is not")
    if (compression, filtering) != (0, 0) or interlacing >= len(_PASSES):
        raise NotALabel("the PNG is stored in a way that is unknown")
    size = 0
    for left, top, right, down in _PASSES[interlacing]:
        columns, lines = len(range(left, width, right)), len(range(top, height, down))
        if columns:  # each line has a byte that says how it is filtered: section 7.3
            size += lines * (1 + (columns * samples * depth + 7) // 8)
    if size > MOST_UNPACKED:
        raise NotALabel(f"the PNG is {width} x {height} pixels, which unpack to more than {MOST_UNPACKED // 10**6} MB")
    return size, colour == _PALETTE
