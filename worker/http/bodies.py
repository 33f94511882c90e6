"""What a body is, which its headers may say wrongly: encodings undone within a bound, and text in any charset."""

import json
import re
import zlib
from typing import Final

# The content codings that are registered (RFC 9110, 8.4.1, and IANA's list) and that the standard library cannot undo.
# Other words that servers put there, such as `utf-8`, `binary` or `none`, encode nothing.
_UNREADABLE: Final = frozenset(
    {"br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip", "aes128gcm"}
)
_MOST_CODINGS: Final = 4  # one after the other
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = b"\x1f\x8b\x08"  # RFC 1952, 2.3.1
_GZIP_END: Final = 8  # bytes: checksum and length
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
# Supersets of ASCII alone: decoding `utf-7` or `unicode_escape` could bring back a key that was masked in the bytes.
_KNOWN_CHARSET = re.compile(
    r"iso[_-]?8859[_-]?\d{1,2}|(windows-|cp)125\d|latin[_-]?\d{1,2}|koi8-[ru]|(us-)?ascii|utf-?8|shift_jis|euc-(jp|kr)"
    r"|big5|gbk|gb2312|gb18030"
)
_LATIN_1 = re.compile(r"iso[_-]?8859[_-]?1|latin[_-]?1|(us-)?ascii")


def unpacked(content: bytes, codings: str, limit: int) -> tuple[bytes, str]:
    """`content` without what `codings` (a Content-Encoding) says was done to it, and what is wrong with it, or "".

    What was not encoded at all is taken as it is. More than `limit` bytes are cut off somewhere behind the limit.
    """
    named = [coding.strip().lower() for coding in codings.split(",")]
    if len(named) > _MOST_CODINGS:
        return content, f"it says that it is encoded {len(named)} times over"
    for coding in reversed(named):
        problem = ""
        if coding in ("gzip", "x-gzip"):
            content, problem = _gunzipped(content, limit)
        elif coding == "deflate":
            content = _deflated(content, limit)
        elif coding in _UNREADABLE:
            problem = f"it says that it is encoded as {coding}, which was not asked for and cannot be read"
        if problem or len(content) > limit:
            return content, problem
    return content, ""


def narrowed(content: bytes) -> bytes:
    """UTF-16 and UTF-32, which JSON once allowed (RFC 4627, 3), as UTF-8; anything else as it is.

    A key is looked for in bytes: between the NULs of UTF-16 it would not be found.
    """
    head = content[:4]
    if b"\0" not in head and not head.startswith(_WIDE_MARKS):
        return content
    encoding = json.detect_encoding(content)
    if not encoding.startswith(("utf-16", "utf-32")):
        return content
    return content.decode(encoding, "replace").encode("utf-8", "replace")


def as_text(content: bytes, content_type: str) -> str:
    """Text of `content`; bytes that do not decode become U+FFFD.

    UTF-8 where it is that, since nothing else looks like it by chance; then as the Content-Type's charset says.
    """
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        charset = charset_of(content_type)
        try:
            # What is called ISO 8859-1 is Windows-1252 in practice (WHATWG, Encoding Standard, 4.2).
            return content.decode("cp1252" if _LATIN_1.fullmatch(charset) else charset or "utf-8", "replace")
        except LookupError:  # such as ISO 8859-12, which does not exist
            return content.decode("utf-8", "replace")


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names, in lower case; empty when it names none that is known here."""
    named = _CHARSET.search(content_type)
    charset = named[1].lower() if named else ""
    return charset if _KNOWN_CHARSET.fullmatch(charset) else ""


def _gunzipped(content: bytes, limit: int) -> tuple[bytes, str]:
    pieces: list[bytes] = []
    size, rest = 0, content
    while rest.startswith(_GZIP) and size <= limit:  # it may have several members
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            piece = stream.decompress(rest, limit + 1 - size)
        except zlib.error:
            piece = _without_checksum(rest, limit + 1 - size)
            if not piece and not pieces:
                return content, "it says that it is gzip, begins like it and is broken"
            return b"".join((*pieces, piece)), "its gzip is damaged"
        pieces.append(piece)
        size += len(piece)
        if not stream.eof and size <= limit:
            return b"".join(pieces), "its gzip is cut off"
        rest = stream.unused_data
    return (b"".join(pieces), "") if pieces else (content, "")


def _without_checksum(member: bytes, limit: int) -> bytes:
    """What can be read of a member whose checksum is wrong; nothing when more than that is broken."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(member[:-_GZIP_END], limit)
    except zlib.error:
        return b""


def _deflated(content: bytes, limit: int) -> bytes:
    """Undo "deflate", with zlib's frame as RFC 9110 says or without it as some do; plain text is neither."""
    for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        stream = zlib.decompressobj(window)
        try:
            plain = stream.decompress(content, limit + 1)
        except zlib.error:
            continue
        if len(plain) > limit or (stream.eof and not stream.unused_data):
            return plain
    return content
