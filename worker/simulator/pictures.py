"""Labels that are no PDF: a very small PNG, and ZPL for a label printer."""

import struct
import zlib

PNG_START, ZPL_START = b"\x89PNG\r\n\x1a\n", b"^XA"


def stripes_png(width: int = 200, height: int = 100, pixels: bytes | None = None) -> bytes:
    """A grey PNG with stripes, which stands for a bar code; `pixels`, if given, are what stands in its IDAT instead."""
    row = b"\0" + bytes(0 if column % 7 < 3 else 255 for column in range(width))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(row * height) if pixels is None else pixels
    return PNG_START + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def text_zpl(text: str) -> bytes:
    """A label of one line in ZPL II; what would be a command of it becomes a space."""
    plain = "".join(" " if char in "^~" or not char.isprintable() else char for char in text)
    return f"{ZPL_START.decode()}\n^FO50,50^A0N,40,40^FD{plain}^FS\n^XZ\n".encode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
