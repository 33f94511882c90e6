"""Secrets out of files: API keys, what webhooks sign by, the database's URL; a changed one needs no restart."""

import base64
import binascii
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from worker.domain.file_names import check_file_name
from worker.dsn import check_url, place_of_url, read_small, unreadable

if TYPE_CHECKING:
    from worker.settings.model import DatabaseSettings

_LARGEST_SECRET = 16_384  # bytes
_SHORTEST_TOKEN = 32
_LOOK_EVERY_SECONDS = 1.0
_SIGNING = "whsec_"
_SIGNING_BYTES = range(24, 64 + 1)  # Standard Webhooks 1.0.0, "Signature scheme"
_MAKE_ONE = 'make one by  echo "whsec_$(openssl rand -base64 32)"'
_MOST_SIGNING = 10  # a rotation takes two, and each body is signed by all of them


def none_if_empty(value: object) -> object:
    """Read an empty text as a value that is not given."""
    return None if value == "" else value


def _path(value: object) -> object:
    return none_if_empty(check_file_name(value) if isinstance(value, str) else value)


OptionalPath = Annotated[Path | None, BeforeValidator(_path)]


class KeyUnavailableError(Exception):
    """There is no usable key; the text says why and never holds any part of one."""


def check_key(key: str) -> str:
    """Return the key without surrounding white space, if it can be sent as an HTTP header.

    Raises ValueError for an empty key and for control characters or characters outside Latin-1 in it.
    """
    key = key.strip()
    if not key:
        raise ValueError("is empty")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in key):
        raise ValueError("holds a line break or another control character; a key is one line of text")
    if any(ord(character) > 255 for character in key):
        raise ValueError("holds a character that an HTTP header cannot carry")
    return key


def check_signing_secrets(text: str) -> str:
    """Return webhooks' secrets, one blank between two, if each is `whsec_` and 24 to 64 bytes in base64.

    Raises ValueError, which says which one is wrong and holds no part of it.
    """
    secrets = text.split()
    if not secrets:
        raise ValueError("is empty")
    if len(secrets) > _MOST_SIGNING:
        raise ValueError(f"holds {len(secrets)} secrets separated by white space; {_MOST_SIGNING} at most")
    for number, secret in enumerate(secrets, 1):
        which = f"secret {number} of {len(secrets)} " if len(secrets) > 1 else ""
        if not secret.startswith(_SIGNING):
            raise ValueError(f"{which}must be {_SIGNING} and base64 behind it: {_MAKE_ONE}")
        try:
            size = len(base64.b64decode(secret.removeprefix(_SIGNING), validate=True))
        except (binascii.Error, ValueError):
            raise ValueError(f"{which}is not base64 behind {_SIGNING}: {_MAKE_ONE}") from None
        if size not in _SIGNING_BYTES:
            raise ValueError(f"{which}holds {size} bytes; it must be 24 to 64: {_MAKE_ONE}")
    return " ".join(secrets)


def check_token(token: str) -> str:
    """Return the token of somebody who may see the pages, without surrounding white space.

    Raises ValueError where it is too short to be beyond guessing, or could not be sent as a header.
    """
    token = token.strip()
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("holds a blank, a line break or a character outside ASCII; a token is one word")
    if len(token) < _SHORTEST_TOKEN:
        raise ValueError(f"is shorter than {_SHORTEST_TOKEN} characters; `openssl rand -hex 32` makes a good one")
    return token


def read_secret(file: Path) -> str:
    """Read a small text file, white space around it removed.

    Raises OSError when it can't be read, and ValueError when it is not a small text file.
    """
    return read_small(file, _LARGEST_SECRET)[0].strip()


class SecretFile:
    """A file with a secret, read again when it was changed or replaced; the last good one stays. Not thread-safe."""

    def __init__(self, path: Path, accept: Callable[[str], str]) -> None:
        """`accept` returns what is made of its text, and raises ValueError, with no part of it, for a bad one."""
        self.path = path
        self.problem: str | None = None  # why it can't be used at present; never holds a part of the secret
        self._accept = accept
        self._content: str | None = None
        self._signature: tuple[int, int, int] | None = None

    def current(self) -> str | None:
        """Return what it holds, or held when it was good last; None when it never was. `problem` says what is wrong."""
        try:
            # The signature is taken before reading and kept only on success: a change in between is seen next time,
            # and a bad file is read again until it is good.
            status = self.path.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            if signature != self._signature:
                self._signature = None
                self._content = self._accept(read_secret(self.path))
                self._signature = signature
            self.problem = None
        except (OSError, ValueError) as error:
            self.problem = unreadable(self.path, error)
        return self._content


class _Source:
    """One secret: the value, else the file, else a systemd credential.

    A file that is configured is the source even while it is missing: silently using another secret would hide the
    mistake. Not thread-safe; `clock` gives seconds that never go back.
    """

    def __init__(
        self,
        what: str,
        setting: str,
        accept: Callable[[str], str],
        value: str | None,
        file: Path | None,
        credential: Path | None,
        clock: Callable[[], float],
    ) -> None:
        """`what` and `setting` are what messages call it; `accept` is as `SecretFile` has it."""
        self.problem: str | None = None  # why it can't be had at present; never holds a part of it
        self._what, self._setting, self._accept, self._value = what, setting, accept, value
        self._hint = ""
        if file is None and credential is not None:
            file = credential
            self._hint = f"; the unit's LoadCredential= names the file that must hold the {what}"
        self._file = SecretFile(file, accept) if value is None and file is not None else None
        self._clock = clock
        self._text: str | None = None
        self._looked_at: float | None = None

    @property
    def _origin(self) -> str:
        return str("value" if self._value is not None else self._file and self._file.path)

    def _current(self) -> str:
        now = self._clock()
        if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY_SECONDS:
            self._looked_at = now
            self._look()
        if self._text is None:
            raise KeyUnavailableError(self.problem)
        return self._text

    def _look(self) -> None:
        if self._file is not None:
            self._text, self.problem = self._file.current(), self._file.problem
            if self.problem is not None:
                self.problem += self._hint
        elif self._value is None:
            self.problem = f"no {self._what}: set {self._setting}, {self._setting}_file or the systemd credential"
        else:
            try:
                self._text = self._accept(self._value)
            except ValueError as error:
                self.problem = str(error)


class KeySource(_Source):
    """One account's API key: the value, else the file, else the systemd credential `<account>.api_key`."""

    def __init__(
        self,
        account: str,
        value: str | None,
        file: Path | None,
        credentials_directory: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.account = account
        credential = credentials_directory / f"{account}.api_key" if credentials_directory is not None else None
        super().__init__("key", "api_key", check_key, value, file, credential, clock)

    def __repr__(self) -> str:
        return f"KeySource(account={self.account!r}, source={self._origin!r}, problem={self.problem!r})"

    def current(self) -> str:
        """Return the key that is in force; looks at the file at most once a second.

        When the file vanishes or turns bad, the last good key stays in force and `problem` says so.
        Raises KeyUnavailableError when there never was a good key.
        """
        return self._current()


class SecretSource(_Source):
    """What one webhook signs by: the value, else the file, else the systemd credential `news.<name>.secret`."""

    def __init__(
        self,
        subscriber: str,
        value: str | None,
        file: Path | None,
        credentials_directory: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.subscriber = subscriber
        name = f"news.{subscriber}.secret"
        credential = credentials_directory / name if credentials_directory is not None else None
        super().__init__("secret", "secret", check_signing_secrets, value, file, credential, clock)

    def __repr__(self) -> str:
        return f"SecretSource(subscriber={self.subscriber!r}, source={self._origin!r}, problem={self.problem!r})"

    def text(self) -> str:
        """Return the secrets that are in force as they are configured, for what must not be seen in a log."""
        return self._current()

    def current(self) -> tuple[bytes, ...]:
        """Return the keys that all sign, at least one; otherwise as `KeySource.current`."""
        return tuple(base64.b64decode(each.removeprefix(_SIGNING)) for each in self._current().split())


class UrlSource:
    """Where the database is, and with which user and password. Not thread-safe.

    Only what leads to the same database is taken up. With anything else in the file, or without it, the last good URL
    stays in force.
    """

    def __init__(self, settings: "DatabaseSettings") -> None:
        self._url = settings.url
        self._file = SecretFile(settings.url_file, self._accepted) if settings.url_file is not None else None

    def __repr__(self) -> str:
        return f"UrlSource(file={str(self._file and self._file.path)!r}, problem={self.problem!r})"

    @property
    def problem(self) -> str | None:
        """Why the file can't be used at present; None when all is well. Never holds a part of the URL."""
        return self._file.problem if self._file is not None else None

    def current(self) -> str:
        """Return the URL that is in force; looks at the file each time, as connections are made rarely."""
        if self._file is not None:
            self._url = self._file.current() or self._url
        return self._url

    def _accepted(self, text: str) -> str:
        url = check_url(text)
        if place_of_url(url) != place_of_url(self._url):
            raise ValueError(
                "names another database than the one that is in use, which it stays: a worker must not know two;"
                " restart the workers to use the other"
            )
        return url
