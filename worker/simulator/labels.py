"""Labels that are no PDF, and what may become of any label: its pages, its encryption, damage on the way."""

import io
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from pypdf import PageObject, PdfWriter
from pypdf.constants import UserAccessPermissions
from pypdf.errors import PyPdfError

from worker.simulator.changes import Change, by_word, chosen, in_words
from worker.simulator.delivery import Reply

_PNG_START, _ZPL_START = b"\x89PNG\r\n\x1a\n", b"^XA"
_PDF_START = b"%PDF-"
_STREAM = re.compile(rb"(?s)((?<!end)stream\r?\n)(.*?)(?=\r?\nendstream)")

_PASSWORD, _OWNER_PASSWORD = "secret", "owner"
_MAY_PRINT = UserAccessPermissions.from_dict({"print": True, "print_to_representation": True})
_MAY_NOT_PRINT = UserAccessPermissions.from_dict({"extract": True, "extract_text_and_graphics": True})

# Less than the 1,024 bytes within which readers look for %PDF and for %%EOF: PDF Reference 1.7, appendix H, 13 and 18.
_BEFORE = b"stray bytes\n" * 83
_BEHIND = b"\r\n" + b"\0" * 500
_PRINTER_SETTING = b"\x10CT~~CD,~CC^~CT~\r\n"  # what ZebraDesigner's driver sends before each label


def stripes_png(width: int = 200, height: int = 100, pixels: bytes | None = None) -> bytes:
    """A grey PNG with stripes, which stands for a bar code; `pixels`, if given, are what stands in its IDAT instead."""
    row = b"\0" + bytes(0 if column % 7 < 3 else 255 for column in range(width))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(row * height) if pixels is None else pixels
    return _PNG_START + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def text_zpl(text: str) -> bytes:
    """A label of one line in ZPL II; what would be a command of it becomes a space."""
    plain = "".join(" " if char in "^~" or not char.isprintable() else char for char in text)
    return f"{_ZPL_START.decode()}\n^FO50,50^A0N,40,40^FD{plain}^FS\n^XZ\n".encode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rewritten(change: Callable[[PdfWriter], None]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        if not content.startswith(_PDF_START):
            return content
        try:
            writer = PdfWriter(clone_from=io.BytesIO(content))
            change(writer)
        except PyPdfError:
            return content  # another change has spoiled it before
        written = io.BytesIO()
        writer.write(written)
        return written.getvalue()

    return apply


def _add_page(writer: PdfWriter) -> None:
    if writer.pages:
        copy = writer.pages[-1].clone(writer, force_duplicate=True, ignore_fields=("/Parent",))
        writer.add_page(cast(PageObject, copy))


def _lose_page(writer: PdfWriter) -> None:
    if writer.pages:
        writer.remove_page(len(writer.pages) - 1)


def _blank(writer: PdfWriter) -> None:
    for page in writer.pages:
        page.pop("/Contents", None)


def _encrypted(
    algorithm: str, user_password: str = "", permissions: UserAccessPermissions = _MAY_PRINT
) -> Callable[[bytes], bytes]:
    def encrypt(writer: PdfWriter) -> None:
        writer.encrypt(user_password, _OWNER_PASSWORD, permissions_flag=permissions, algorithm=algorithm)

    return _rewritten(encrypt)


def _garbage(content: bytes) -> bytes:
    if content.startswith(_PNG_START):
        return stripes_png(pixels=b"no pixels")
    return _STREAM.sub(lambda found: found[1] + bytes(len(found[2])), content)


def _padded(content: bytes) -> bytes:
    if content.startswith(_PDF_START):
        return _BEFORE + content + _BEHIND
    return content + _BEHIND if content.startswith(_PNG_START) else _PRINTER_SETTING + content


# What needs a whole PDF comes first: with several magic words each does its work on what those before have left.
LABEL_CHANGES: Mapping[str, Change[bytes]] = {
    "extra-page": Change("the label's last page comes once more", _rewritten(_add_page)),
    "lost-page": Change("the label is without its last page, which may be its only one", _rewritten(_lose_page)),
    "blank": Change("the label's pages are there, and nothing is on them", _rewritten(_blank)),
    "garbage": Change("the label is a PDF or PNG whose content does not inflate", _garbage),
    "encrypted": Change(
        "the label is good: encrypted with AES-256, opened without a password, may be printed",
        _encrypted("AES-256"),
    ),
    "aes128": Change("the label is good: the same with AES-128", _encrypted("AES-128")),
    "rc4": Change("the label is good: the same with RC4, 128 bits", _encrypted("RC4-128")),
    "locked": Change(f"the label opens by the password `{_PASSWORD}` alone", _encrypted("AES-256", _PASSWORD)),
    "no-print": Change(
        "the label opens without a password and may not be printed",
        _encrypted("AES-256", permissions=_MAY_NOT_PRINT),
    ),
    "padded": Change(
        "the label is good: stray bytes before a PDF, NULs behind it or a PNG, a printer's setting before ZPL",
        _padded,
    ),
    "mangled": Change(
        "the label was taken for text: each byte that is no UTF-8 is U+FFFD, and it prints white",
        lambda content: content.decode("utf-8", "replace").encode(),
    ),
    "crlf": Change("the label was taken for text: each LF is CRLF", lambda content: content.replace(b"\n", b"\r\n")),
    "cut": Change("the label ends in its middle, as does the answer", lambda content: content[: len(content) // 2]),
}
"""What may become of a label, by name; the magic word is `sim:NAME-label`. What it does not know, it leaves alone."""

LABEL_WORDS = by_word(LABEL_CHANGES, "sim:{}-label")


def with_label_changed(change: str) -> Callable[[Reply], Reply]:
    """An answer whose label that change has met; ValueError for an unknown one."""
    return _on_label(chosen(LABEL_CHANGES, change).apply)


def as_worded(reply: Reply, words: frozenset[str]) -> Reply:
    """The answer with its label as the magic words want it."""
    if "sim:bad-label" in words:
        return Reply(
            200, b"<!DOCTYPE html><html><body>sim:bad-label</body></html>", {"Content-Type": "application/pdf"}
        )
    return _on_label(lambda content: in_words(LABEL_WORDS, words, content))(reply)


def _on_label(apply: Callable[[bytes], bytes]) -> Callable[[Reply], Reply]:
    def changed(reply: Reply) -> Reply:
        is_label = reply.body.startswith((_PDF_START, _PNG_START, _ZPL_START))
        return replace(reply, body=apply(reply.body)) if is_label else reply

    return changed
