"""What others wrote, so that it may be shown to a reader; imports nothing, since a health check imports it."""


def shown(text: str) -> str:
    """One line that is safe on a terminal: what a shop or a carrier wrote may hold escape sequences."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def shown_lines(text: str) -> str:
    """The same of each line of a text."""
    return "\n".join(map(shown, text.split("\n")))


def escaped(document: str) -> str:
    """JSON text that means the same and is safe on a terminal; JSON's own escapes cover U+0000 to U+001F alone."""
    if document.isprintable():
        return document
    return "".join(char if char.isprintable() else _as_json_has_it(char) for char in document)


def _as_json_has_it(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
