"""The database's URL as it is now: a password that was rotated in `database.url_file` is taken up without a restart."""

from worker.dsn import check_url, place_of_url
from worker.settings.model import DatabaseSettings
from worker.settings.secrets import SecretFile

_ELSEWHERE = (
    "names another database than the one that is in use, which it stays: a worker must not know two;"
    " restart the workers to use the other"
)


class UrlSource:
    """Where the database is, and with which user and password. Not thread-safe.

    Only what leads to the same database is taken up. With anything else in the file, or without it, the last good URL
    stays in force.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
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
            raise ValueError(_ELSEWHERE)
        return url
