"""Opens a PDF, counts its pages and looks at what each prints: that something is drawn on it, and that it came whole.

Knows pypdf, and is imported in the child process alone.

Readers, pypdf among them, pass over compressed data that does not unpack, and print white. So what is drawn is unpacked
strictly. What is not drawn is left alone, and so is what only a printer unpacks: JPEG 2000, fax, and fonts, since
readers take some that are not quite whole.
"""

import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import NamedTuple

from pypdf import PageObject, PasswordType, PdfReader
from pypdf.constants import UserAccessPermissions
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    EncodedStreamObject,
    IndirectObject,
    NameObject,
    NullObject,
    NumberObject,
    PdfObject,
    StreamObject,
)

from worker.labels.converted import was_converted
from worker.labels.errors import NotALabel
from worker.labels.inflate import MOST_UNPACKED, CannotInflate, inflated

# Operators that leave a mark: ISO 32000-1, annex A, those of path painting, shading, text showing and inline images.
# White space and delimiters are those of its section 7.2.2; "/" is missing, for /S is a name.
_MARKING = re.compile(rb"(?<![^\0\s()<>\[\]{}%])(?:Tj|TJ|'|\"|[fBb]\*?|[FSs]|sh|EI)(?![^\0\s()<>\[\]{}/%])")
_SHOWN = re.compile(rb"/([^\0\s()<>\[\]{}/%]++)[\0\s]++Do(?![^\0\s()<>\[\]{}/%])")

_FLATE = "/FlateDecode"
_JPEG = "/DCTDecode"
_JPEG_START = b"\xff\xd8"  # ITU-T T.81, section B.2.1: start of image
_ASCII = ("/ASCII85Decode", "/ASCIIHexDecode")

_HIDDEN, _PRINTED = 2, 4  # ISO 32000-1, table 165: flags of an annotation


def count_pages(content: bytes) -> int:
    """Count the pages of a PDF, each of which must print; raises `NotALabel` when one does not, or none can be read.

    Run only in a child process (see `child`): there is no bound on the time this takes.
    """
    number, printed = 0, PrintedPages()
    if was_converted(content):
        raise NotALabel("the PDF is damaged: it was converted as if it were text (its character set, or its line ends)")
    try:
        reader = PdfReader(BytesIO(content))
        if reader.is_encrypted:
            _check_encryption(reader)
        # Walks the page tree; `len(reader.pages)` would believe /Count.
        for number, page in enumerate(reader.pages, start=1):
            printed.check(page, number)
    except NotALabel:
        raise
    except NotImplementedError:  # of pypdf's for the keys of a public-key handler, and for revisions to come
        raise NotALabel("the PDF is encrypted in a way that cannot be read here") from None
    except MemoryError:
        raise NotALabel("reading the PDF takes too much memory") from None
    except RecursionError:
        raise NotALabel("the PDF is nested too deeply") from None
    except Exception as error:  # a hostile file makes pypdf raise nearly anything
        raise NotALabel(f"the PDF cannot be read ({type(error).__name__})") from None
    return number


def _check_encryption(reader: PdfReader) -> None:
    """Raise `NotALabel` unless everybody can open the file, and may print it (ISO 32000-1, table 22, bit 3).

    What an owner's password allows does not count, even where that is empty too: readers open the file as its user.
    """
    if reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise NotALabel("the PDF is encrypted and needs a password to open")
    if UserAccessPermissions.PRINT not in (reader.user_access_permissions or UserAccessPermissions(0)):
        raise NotALabel("the PDF is encrypted and does not allow printing")


class _Drawing(NamedTuple):
    """What a content stream does: whether it marks the page by itself, and the names of what it shows."""

    marks: bool
    shows: tuple[NameObject, ...]


class PrintedPages:
    """The pages of one PDF; each thing that several of them draw is unpacked once."""

    def __init__(self) -> None:
        self._drawings: dict[IndirectObject | None, _Drawing] = {}  # by None the last without a reference
        self._pictures: set[IndirectObject | None] = set()

    def check(self, page: PageObject, number: int) -> None:
        """Raise `NotALabel` when the page (`number` counts from 1) is blank, or what it prints is damaged."""
        try:
            marked = self._mark(_contents(page), page) or self._mark(_appearances(page), page)
        except CannotInflate as error:
            raise NotALabel(f"page {number} of the PDF is damaged: {error}") from None
        if not marked:
            raise NotALabel(f"page {number} of the PDF is blank: nothing is drawn on it")

    def _mark(self, streams: Iterable[StreamObject], page: DictionaryObject) -> bool:
        """Whether these streams, and all that they show, leave a mark; all of it is checked."""
        marked = False
        waiting = [(stream, page) for stream in streams]
        seen = set()
        while waiting:
            stream, owner = waiting.pop()
            # A form without resources of its own uses those of what shows it.
            owner = stream if "/Resources" in stream else owner
            drawing = self._drawing(stream)
            marked = marked or drawing.marks
            shown = _dictionary(_found(_dictionary(_found(owner, "/Resources")), "/XObject"))
            for name in drawing.shows:
                drawn = _found(shown, name)
                if drawn is None or id(drawn) in seen:
                    continue
                seen.add(id(drawn))
                if isinstance(drawn, StreamObject) and drawn.get("/Subtype") == "/Form":
                    waiting.append((drawn, owner))
                    continue
                marked = True
                if isinstance(drawn, StreamObject):
                    self._check_picture(drawn)
        return marked

    def _drawing(self, stream: StreamObject) -> _Drawing:
        key = stream.indirect_reference
        if key is not None and key in self._drawings:
            return self._drawings[key]
        self._unpack(stream, "what is drawn on it")
        content = _unpacked(stream, "what is drawn on it")
        names = (NameObject.read_from_stream(BytesIO(b"/" + name), None) for name in set(_SHOWN.findall(content)))
        self._drawings[key] = _Drawing(_MARKING.search(content) is not None, tuple(names))
        return self._drawings[key]

    def _check_picture(self, stream: StreamObject) -> None:
        key = stream.indirect_reference
        if key is not None and key in self._pictures:
            return
        self._unpack(stream, "a picture on it")
        self._pictures.add(key)

    def _unpack(self, stream: StreamObject, what: str) -> None:
        """Unpack the outermost layer that is no spelling in ASCII, as strictly as it says of itself that it can be."""
        packed, layer = _without_ascii(stream, what)
        try:
            if layer == _FLATE:
                for _ in inflated([packed], MOST_UNPACKED):
                    pass
            elif layer == _JPEG and not packed.startswith(_JPEG_START):
                raise CannotInflate("is no JPEG")
        except CannotInflate as error:
            raise CannotInflate(f"{what} {error}") from None


def _contents(page: DictionaryObject) -> Iterator[StreamObject]:
    content = _found(page, "/Contents")
    for part in content if isinstance(content, ArrayObject) else [content]:
        stream = None if part is None else part.get_object()
        if isinstance(stream, StreamObject):
            yield stream


def _appearances(page: DictionaryObject) -> Iterator[StreamObject]:
    """Yield what the page's annotations print: stamps, signatures and the fields of forms."""
    annotations = _found(page, "/Annots")
    for reference in annotations if isinstance(annotations, ArrayObject) else ():
        annotation = _dictionary(reference.get_object())
        flags = _found(annotation, "/F")
        if not isinstance(flags, NumberObject) or flags & (_HIDDEN | _PRINTED) != _PRINTED:
            continue
        appearance = _found(_dictionary(_found(annotation, "/AP")), "/N")
        if not isinstance(appearance, StreamObject):  # one for each state of a field, such as /Off
            appearance = _found(_dictionary(appearance), str(_found(annotation, "/AS")))
        if isinstance(appearance, StreamObject):
            yield appearance


def _without_ascii(stream: StreamObject, what: str) -> tuple[bytes, str]:
    """Return the data below all spellings in ASCII, and the name of the filter that comes next, or an empty one."""
    layers = _layers(stream)
    spelt = next((at for at, layer in enumerate(layers) if layer not in _ASCII), len(layers))
    layer = layers[spelt] if spelt < len(layers) else ""
    if spelt == 0:
        return stream._data, layer
    outer = EncodedStreamObject()
    outer._data = stream._data
    outer[NameObject("/Filter")] = ArrayObject(NameObject(each) for each in layers[:spelt])
    return _unpacked(outer, what), layer


def _layers(stream: StreamObject) -> list[str]:
    filters = _found(stream, "/Filter")
    listed = filters if isinstance(filters, ArrayObject) else [] if filters is None else [filters]
    return [str(each.get_object()) for each in listed]


def _unpacked(stream: StreamObject, what: str) -> bytes:
    """Return what the stream unpacks to by pypdf, which has bounds of its own and passes over what it cannot unpack."""
    try:
        return stream.get_data()
    except (MemoryError, RecursionError):
        raise
    except Exception:  # a hostile file makes pypdf raise nearly anything
        raise CannotInflate(f"{what} cannot be unpacked") from None


def _found(container: DictionaryObject, key: str) -> PdfObject | None:
    value = container.get(key)
    found = None if value is None else value.get_object()
    return None if isinstance(found, NullObject) else found


def _dictionary(value: PdfObject | None) -> DictionaryObject:
    return value if isinstance(value, DictionaryObject) else DictionaryObject()
