"""The tokens that are configured, as their files have them now."""

from collections.abc import Callable, Mapping

import structlog

from worker.domain.masking import forms_of_key
from worker.settings import Settings, token_file
from worker.web.guard import May, Token

log = structlog.get_logger()


class Tokens:
    """Reads each again when its file was changed.

    One whose file is gone or bad lets its owner in no more: unlike a carrier's key it is also there to be taken away.
    """

    def __init__(self, settings: Settings, hide: Callable[..., None]) -> None:
        """`hide` is told each text that no log may show."""
        self._files = {name: token_file(settings, name) for name in settings.http.tokens}
        self._may = {name: May(token.may) for name, token in settings.http.tokens.items()}
        self._hide = hide
        self._known: dict[str, str] = {}
        self._problems: dict[str, str | None] = {}

    def current(self) -> Mapping[str, Token]:
        """Those that are good now, by name."""
        good: dict[str, Token] = {}
        for name, file in self._files.items():
            text = file.current() if file is not None else None
            problem = file.problem if file is not None else "no file holds it"
            if problem is None and any(text == other.text for other in good.values()):
                problem = "it is the token of another name, too"
            if problem is not None and problem != self._problems.get(name):
                log.warning(
                    "token_unreadable", token=name, problem=problem, hint="nobody enters by it until it is good"
                )
            self._problems[name] = problem
            if text is None or problem is not None:
                continue
            if text != self._known.get(name):
                self._hide(*forms_of_key(text))
                self._known[name] = text
            good[name] = Token(text, self._may[name])
        return good
