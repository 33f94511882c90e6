"""The database's URL as it is now: a password that was rotated in `database.url_file` is taken up without a restart."""

from worker.dsn import check_url, place_of_url
from worker.settings.model import DatabaseSettings
from worker.settings.secrets import SecretFile, unreadable

_ELSEWHERE = (
    "names another database than the one that is in use, which it stays: a worker must not know two;"
    " restart the workers to use the other"
)


class UrlSource:
    """Where the database is, and with which user and password. Not thread-safe.

    Only what leads to the same database is taken up. Whatever else comes to stand in the file, or does not stand there
    any more, leaves the last good URL in force.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self.problem: str | None = None
        """Why the file can't be used at present; None when all is well. Never holds a part of the URL."""
        self._url = settings.url
        self._file = SecretFile(settings.url_file, self._accepted) if settings.url_file is not None else None

    def __repr__(self) -> str:
        return f"UrlSource(file={str(self._file and self._file.path)!r}, problem={self.problem!r})"

    def current(self) -> str:
        """Return the URL that is in force; looks at the file each time, as connections are made rarely."""
        if self._file is None:
            return self._url
        try:
            self._url = self._file.read()
        except (OSError, ValueError) as error:
            self.problem = unreadable(self._file.path, error)
        else:
            self.problem = None
        return self._url

    def _accepted(self, text: str) -> str:
        url = check_url(text)
        if place_of_url(url) != place_of_url(self._url):
            raise ValueError(_ELSEWHERE)
        return url
