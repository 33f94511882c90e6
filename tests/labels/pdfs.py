"""PDFs made for tests, down to the byte."""

import zlib
from base64 import a85encode
from io import BytesIO

from pypdf import PdfReader, PdfWriter
from pypdf.constants import UserAccessPermissions
from pypdf.generic import DecodedStreamObject, NameObject

EVERYTHING = UserAccessPermissions.all()

DRAWING = b"q 0 0 1 rg 20 20 248 392 re f Q\n" + b"".join(b"%d %d m %d 9 l S\n" % (n, n * n, n) for n in range(99))
"""A drawing that marks the page: a rectangle and many lines, so that compressing it leaves bytes of all kinds."""


def pdf(
    pages: int = 1,
    password: str | None = None,
    algorithm: str = "RC4-128",
    allowed: UserAccessPermissions = EVERYTHING,
    drawing: bytes = DRAWING,
) -> bytes:
    """A PDF whose pages draw, encrypted when there is a password to open it, `""` included."""
    writer = PdfWriter()
    for _ in range(pages):
        content = DecodedStreamObject()
        content.set_data(drawing)
        page = writer.add_blank_page(width=288, height=432)
        page[NameObject("/Contents")] = writer._add_object(content.flate_encode())
    if password is not None:
        writer.encrypt(password, "owner", algorithm=algorithm, permissions_flag=allowed)
    file = BytesIO()
    writer.write(file)
    return file.getvalue()


def text_of(content: bytes) -> str:
    """What stands on the pages of a PDF."""
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)


def written(*objects: bytes) -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalog."""
    out, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table) + end


def stream(data: bytes, entries: bytes = b"") -> bytes:
    """A stream object as it stands in a file."""
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(data), entries, data)


def flate(data: bytes, entries: bytes = b"") -> bytes:
    """A compressed stream object."""
    return stream(zlib.compress(data), b"/Filter/FlateDecode" + entries)


def ascii85_flate(data: bytes) -> bytes:
    """A stream object compressed and then spelt in ASCII, as some writers of PDFs do by default."""
    return stream(a85encode(zlib.compress(data)) + b"~>", b"/Filter[/ASCII85Decode/FlateDecode]")


def page(page: bytes, *more: bytes) -> bytes:
    """A PDF of one page with these entries; the objects in `more` are numbered from 4."""
    return written(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 288 432]" + page + b">>",
        *more,
    )
