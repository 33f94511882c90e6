"""The tokens that are configured, as their files have them now."""

from collections import Counter
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
        self._problems: Mapping[str, str | None] = {}

    def current(self) -> Mapping[str, Token]:
        """Those that are good now, by name."""
        texts, problems = self._read()
        good: dict[str, Token] = {}
        for name, problem in problems.items():
            if problem is not None and problem != self._problems.get(name):
                log.warning(
                    "token_unreadable", token=name, problem=problem, hint="nobody enters by it until it is good"
                )
            if problem is None:
                if texts[name] != self._known.get(name):
                    self._hide(*forms_of_key(texts[name]))
                    self._known[name] = texts[name]
                good[name] = Token(texts[name], self._may[name])
        self._problems = problems
        return good

    def _read(self) -> tuple[Mapping[str, str], dict[str, str | None]]:
        """What the good files have, and what is wrong with each."""
        texts: dict[str, str] = {}
        problems: dict[str, str | None] = {}
        for name, file in self._files.items():
            text = file.current() if file is not None else None
            problems[name] = file.problem if file is not None else "no file holds it"
            if text is not None and problems[name] is None:
                texts[name] = text
        count = Counter(texts.values())
        for name, text in texts.items():
            if count[text] > 1:  # whose it is cannot be told, so it lets in neither: one of them may do more
                problems[name] = "it is the token of another name, too"
        return texts, problems
