"""What is wrong with a database's URL, said without any part of it."""


class BadUrl(ValueError):
    """The URL, or what completes it, cannot be used; the text names the parameter, variable or file, never a value."""


def decoded(text: str) -> str:
    """`text` with its percent-encoding taken off; `ValueError` where that is broken, or gives NUL or no UTF-8.

    A plus sign is itself, as in libpq: only HTML forms write spaces so.
    """
    head, *rest = text.split("%")
    content = bytearray(head.encode())
    for part in rest:
        byte = bytes.fromhex(part[:2]) if len(part) > 1 and part[:2].isalnum() else b""
        if len(byte) != 1 or byte == b"\0":
            raise ValueError(text)
        content += byte + part[2:].encode()
    return content.decode()
