"""Says which returns a command left as they were, and why: a handful of each reason."""

from collections.abc import Iterable

from worker.cli.output import fail, say, shown

_REFERENCES = 5  # of each reason
_REASONS = 20


class Left:
    """What was left so far; it takes the same room however many there are."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.count = 0
        self._reasons: dict[str, tuple[int, list[str]]] = {}
        self._beyond = 0

    def add(self, left: Iterable[tuple[str, str]]) -> None:
        """References, each with the reason."""
        for reference, why in left:
            self.count += 1
            if why not in self._reasons and len(self._reasons) == _REASONS:
                self._beyond += 1
                continue
            count, references = self._reasons.get(why, (0, []))
            self._reasons[why] = (count + 1, [*references, reference][:_REFERENCES])

    def tell(self) -> None:
        """A line for each reason."""
        for why, (count, references) in self._reasons.items():
            more = f" and {count - len(references)} more" if count > len(references) else ""
            say(shown(f"left: {', '.join(references)}{more}: {why}"))
        if self._beyond:
            say(f"left: {self._beyond} more, for other reasons")

    def fail_if_any(self) -> None:
        """What was left since the database refuses it makes a command fail."""
        if self.count:
            fail("error: the database refuses some by a rule that was added to it; mend that, and run it again")
