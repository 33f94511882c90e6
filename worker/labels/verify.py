"""Check that bytes from outside are the label they claim to be, before anything is stored or recorded."""

import asyncio
import hashlib
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from worker.labels.child import Answer, ChildDied, ChildPool, ChildTimedOut
from worker.labels.errors import NotALabel
from worker.labels.images import PNG_START, begins_as_zpl, check_png, check_zpl, without_margin

PARALLEL = 2
"""Labels read at the same time; a file that never ends costs the others one of these, for `timeout`."""

_MARGIN = 1024
"""Bytes that may stand before `%PDF-`, and behind `%%EOF` beside white space: readers take as many (PDF Reference 1.7,
appendix H, implementation notes 13 and 18)."""

_PDF_SPACE = b"\0\t\n\f\r "
"""White space as PDFs have it: ISO 32000-1, section 7.2.2."""

_COUNT_IN_CHILD = "from worker.labels import child, printed; child.serve(printed.count_pages)"

_PDF_START = b"%PDF-"
_PDF = "application/pdf"
_KINDS = {_PDF: "a PDF", "image/png": "a PNG image", "application/zpl": "a ZPL printer label"}
"""What can be verified, by media type; how messages call it."""

UNKNOWN = "application/octet-stream"
"""The media type of a label that a person accepted although nothing tells what it is (RFC 2046, 4.5.1)."""

_CHECKS: dict[str, Callable[[bytes], None]] = {"image/png": check_png, "application/zpl": check_zpl}

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)


@dataclass(frozen=True, slots=True)
class VerifiedLabel:
    """A label file that passed every check.

    `media_type` is an IANA type such as `application/pdf`; `page_count` is None for a format without
    pages; `sha256` is the hexadecimal digest of `content`.
    """

    content: bytes = field(repr=False)
    media_type: str
    page_count: int | None
    sha256: str

    @property
    def byte_count(self) -> int:
        """Size of the content in bytes."""
        return len(self.content)


# Neither the event loop's default pool nor the loop itself: name look-ups must not wait for a hostile file.
_threads = ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="verify-label")
_children = ChildPool(_COUNT_IN_CHILD)


async def verify_label(
    content: bytes,
    *,
    pages: int | None,
    media_types: Collection[str] = (_PDF,),
    timeout: float = 5.0,  # noqa: ASYNC109 - it bounds the child's work, not the wait of the caller
) -> VerifiedLabel:
    """Return the content as a label of the kind that its bytes say it is, or raise `NotALabel`.

    `media_types` are the kinds to accept, of `application/pdf`, `image/png` and `application/zpl`; no header is asked,
    since carriers send labels as anything. The other arguments are about PDFs alone. `pages` is the expected number of
    pages (Izipack documents one per package), None when the carrier promises none. `timeout` is how long, in seconds,
    reading this one file may take; waiting for a free thread is not counted. Raises `OSError` when no checking process
    can be started: that is this machine's trouble and says nothing about the label.
    """
    media_type = media_type_of(content)
    if media_type is None or media_type not in media_types:
        accepted = " or ".join(_KINDS.get(each, each) for each in media_types)
        raise NotALabel(f"not {accepted or 'of a kind that is accepted'} but {_describe(content)}")
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, _verify, content, media_type, pages, timeout)


async def as_it_is(content: bytes) -> VerifiedLabel:
    """Return the content as a label on a person's word: of the kind that its bytes tell, and with pages if it has any.

    `page_count` is None, too, where they cannot be counted.
    """
    try:
        return await verify_label(content, pages=None, media_types=_KINDS)
    except (NotALabel, OSError):  # OSError: no checking process can be started here
        return _label(content, media_type_of(content) or UNKNOWN, None)


def _verify(content: bytes, media_type: str, pages: int | None, timeout: float) -> VerifiedLabel:
    if media_type == _PDF:
        return _label(content, _PDF, _count_pages(content, pages, timeout))
    _CHECKS[media_type](content)
    return _label(content, media_type, None)


def _label(content: bytes, media_type: str, page_count: int | None) -> VerifiedLabel:
    return VerifiedLabel(content, media_type, page_count, hashlib.sha256(content).hexdigest())


def _count_pages(content: bytes, pages: int | None, timeout: float) -> int:
    if b"%%EOF" not in content.rstrip(_PDF_SPACE)[-_MARGIN:]:
        raise NotALabel(f"the PDF is cut off: no end mark in its last {_MARGIN} bytes ({len(content)} bytes)")
    # Without what stands around it: places in the file are counted from the "%" on (ISO 32000-2, section 7.5.2).
    answer = _ask(content[content.index(_PDF_START) :].rstrip(_PDF_SPACE), timeout)
    if answer.error:
        raise NotALabel(answer.error)
    found = answer.value
    if found < 1:
        raise NotALabel("the PDF has no pages")
    if pages is not None and found != pages:
        raise NotALabel(
            f"the PDF has {found} page(s) where {pages} were expected, one per package; the account's"
            ' label_pages = "any" takes any number, `label REFERENCE --accept` takes this one'
        )
    return found


def _ask(content: bytes, timeout: float) -> Answer:
    """Ask a child process; a file on which it does not finish in time, or dies twice, is no label."""
    for _ in range(2):  # twice: a child killed from outside (out of memory) says nothing about the label
        with _children.borrow() as child:
            try:
                return child.ask(content, timeout)
            except ChildTimedOut:
                raise NotALabel(f"reading the PDF takes longer than {timeout:g} s") from None
            except ChildDied:
                continue
    raise NotALabel("reading the PDF crashes the PDF reader")


def media_type_of(content: bytes) -> str | None:
    """Return the media type that the bytes themselves tell, None when it is none that can be verified."""
    if content.startswith(PNG_START):
        return "image/png"
    if begins_as_zpl(content):
        return "application/zpl"
    if content.find(_PDF_START, 0, _MARGIN + len(_PDF_START)) >= 0:
        return _PDF
    return None


def _describe(content: bytes) -> str:
    """Say in words what the content seems to be, quoting none of it."""
    if not content:
        return "empty"
    if (media_type := media_type_of(content)) is not None:
        return f"{_KINDS[media_type]} ({len(content)} bytes)"
    head = without_margin(content[:_MARGIN])
    if not head:
        return "white space"
    for start, name in _STARTS:
        if head.lower().startswith(start.lower()):
            return f"{name} ({len(content)} bytes)"
    if (at := content[:_MARGIN].find(PNG_START)) > 0:
        return f"{at} stray byte(s) with a PNG image behind them"
    kind = "text" if all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in head) else "binary data"
    return f"unknown {kind} ({len(content)} bytes)"
