"""Tells a PDF that a program converted as if it were text: its character set, or the ends of its lines.

Such a file often still opens, since readers mend what they can, and prints white, or with other letters. Its data gives
it away, whatever it is data of: compressed bytes, pictures and fonts do not come as text by chance. So a file that
reads as text from end to end is looked through for data that no longer is any.
"""

import re

_STREAM = re.compile(rb"(?<!end)stream\r?\n(.*?)endstream", re.DOTALL)
_LONGEST_HEAD = 4096  # bytes of the dictionary before a stream that are looked at
_FILTER = re.compile(rb"/Filter\s*\[?\s*/(\w+)")
_PICTURE = re.compile(rb"/Subtype\s*/Image\b")
# Of a font a part may be text: ISO 32000-1, tables 126 and 127.
_FONT = re.compile(rb"/Length1\b|/Subtype\s*/(?:Type1C|CIDFontType0C|OpenType)\b")

# Every second byte of compressed data is beyond ASCII, and of 256 line feeds one has a carriage return before it.
_TELLING_BYTES = 16
_TELLING_LINES = 4


def was_converted(content: bytes) -> bool:
    """Whether the PDF's data shows that it was handled as text on its way. Takes time in proportion to its length."""
    is_text = _is_text(content)
    has_text_lines = b"\n" in content and content.count(b"\n") == content.count(b"\r\n")
    if not (is_text or has_text_lines):
        return False
    for stream in _STREAM.finditer(content):
        head = content[max(0, stream.start() - _LONGEST_HEAD) : stream.start()].rpartition(b"obj")[2]
        data, packing = stream[1].rstrip(b"\r\n"), _FILTER.search(head)
        if packing is not None and packing[1].startswith(b"ASCII"):
            continue  # spelt so that it survives
        packed = packing is not None or _PICTURE.search(head) is not None
        if has_text_lines and packed and data.count(b"\n") >= _TELLING_LINES:
            return True
        if not is_text:
            continue
        if data.isascii():
            if len(data) >= _TELLING_BYTES and packing is not None and packing[1] == b"FlateDecode":
                return True
        elif packed or _FONT.search(head) is not None:
            return True
    return False


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
