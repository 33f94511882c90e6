"""What the name of a file or folder may be: one in the settings, and one that we give."""

import re

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


def check_file_name(name: str) -> str:
    """Return `name`, if a line of a log can show it and every file system take it; else raise `ValueError`."""
    if any(char < " " or char == "\x7f" for char in name):  # a NUL would fail where the file is opened
        raise ValueError("must hold no NUL and no other control character")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8 text") from None
    return name


def check_new_name(name: str) -> str:
    """The same for what is made where it is missing, so that a mistake would make something else."""
    if name.startswith("~"):
        raise ValueError("must be a whole path: ~ is not expanded here; a name that begins so is written ./~")
    return check_file_name(name)


def check_plain_name(name: str) -> str:
    """Return `name`, if every file system takes it and it leads nowhere else; else raise `ValueError`."""
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"{name[:100]!r} must be letters, digits, _, - and dots, with none of the last two first")
    return name
