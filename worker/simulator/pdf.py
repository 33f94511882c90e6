"""A very small PDF writer: pages of text lines, enough to stand for a shipping label."""

import zlib
from collections.abc import Sequence

_WIDTH, _HEIGHT, _MARGIN = 298, 420, 20  # A6, in points
_FONT_SIZE, _LEADING = 12.0, 24
_GLYPH_WIDTH = 0.6  # of the font size: Helvetica's wide average


def text_pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF 1.4 with one A6 page for each of `pages`, each a list of lines set from the top.

    A line too long for the page is set smaller, never broken, so that its text can be searched. Characters
    outside Windows-1252 become `?`.
    """
    page_ids = [4 + 2 * index for index in range(len(pages))]
    kids = " ".join(f"{number} 0 R" for number in page_ids)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, lines in zip(page_ids, pages, strict=True):
        content = _deflated(_page_content(lines))
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_WIDTH} {_HEIGHT}] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {number + 1} 0 R >>".encode()
        )
        objects.append(b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    return _file(objects)


def _page_content(lines: Sequence[str]) -> bytes:
    parts = [b"BT"]
    for row, line in enumerate(lines):
        fitting = (_WIDTH - 2 * _MARGIN) / (_GLYPH_WIDTH * max(1, len(line)))
        top = _HEIGHT - _MARGIN - _LEADING * (row + 1)
        parts.append(b"/F1 %.2f Tf" % max(1.0, min(_FONT_SIZE, fitting)))
        parts.append(b"1 0 0 1 %d %d Tm (%s) Tj" % (_MARGIN, top, _literal(line)))
    return b"\n".join([*parts, b"ET"])


def _deflated(content: bytes) -> bytes:
    """`content` compressed, an LF in its first half: a larger label always has one, and is lost as CRLF."""
    while b"\n" not in (deflated := zlib.compress(content))[: len(deflated) // 2]:
        content += b"\n"
    return deflated


def _literal(text: str) -> bytes:
    """`text` as the inside of a PDF string; control characters would break the line and become spaces."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    encoded = printable.encode("cp1252", "replace")
    return encoded.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _file(objects: Sequence[bytes]) -> bytes:
    written = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")  # the high bytes mark the file as binary
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table_at = len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        written += b"%010d 00000 n \n" % offset
    written += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    written += b"startxref\n%d\n%%%%EOF\n" % table_at
    return bytes(written)
