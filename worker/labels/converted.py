"""Tells a PDF that a program converted as if it were text: its character set, or the ends of its lines.

Such a file often still opens, since readers repair what they can, and prints white, or with other letters. Its data
gives it away: compressed bytes, pictures and fonts do not come as text by chance. So a file that
reads as text from end to end is looked through for data that no longer is any.
"""

import re
from collections.abc import Iterator

_START = re.compile(rb"(?<!end)stream\r?\n")
_LONGEST_HEAD = 4096  # bytes of the dictionary before a stream that are looked at
_FILTER = re.compile(rb"/Filter\s*\[?\s*/(\w+)")
# Data that need not be packed: pictures, fonts, tables of places, of samples and of shades (ISO 32000-1, tables 89,
# 126, 127, 17, 38 and 78).
_DATA = re.compile(
    rb"/Subtype\s*/(?:Image|Type1C|CIDFontType0C|OpenType)\b|/Length1\b"
    rb"|/Type\s*/XRef\b|/FunctionType\s+0\b|/ShadingType\s+[4-7]\b"
)
_PARTLY_TEXT = b"/Length2"  # a Type 1 font begins with a program that may have any line ends

# Every second byte of compressed data is beyond ASCII, and of 256 line feeds one has a carriage return before it.
_TELLING_BYTES = 16
_TELLING_LINES = 4


def was_converted(content: bytes) -> bool:
    """Whether the PDF's data shows that it was handled as text on its way. Takes time in proportion to its length."""
    is_text = _is_text(content)
    has_text_lines = b"\n" in content and content.count(b"\n") == content.count(b"\r\n")
    if not (is_text or has_text_lines):
        return False
    lines = 0
    for head, data in _streams(content):
        packing = _FILTER.search(head)
        if packing is None and _DATA.search(head) is None:
            continue
        if packing is not None and packing[1].startswith(b"ASCII"):
            continue  # spelt so that it survives
        if is_text and not data.isascii():
            return True
        if is_text and len(data) >= _TELLING_BYTES and packing is not None and packing[1] == b"FlateDecode":
            return True
        if has_text_lines and _PARTLY_TEXT not in head:
            lines += data.count(b"\n")
    return lines >= _TELLING_LINES


def _streams(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield what stands before each stream, from its `obj` on, and its data, by the marks alone."""
    end = 0
    while (start := _START.search(content, end)) is not None:
        end = content.find(b"endstream", start.end())
        if end < 0:
            return
        head = content[max(0, start.start() - _LONGEST_HEAD) : start.start()].rpartition(b"obj")[2]
        yield head, content[start.end() : end].rstrip(b"\r\n")


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
