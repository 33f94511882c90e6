"""Draws the life of a return: a line for each day, its hours as columns, the number of polls in each cell."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from rich.text import Text

from worker.domain.cadence import Daytime
from worker.domain.forecast import Forecast, Poll
from worker.domain.tracking import TrackingStatus

_WIDE = 80  # columns that take two cells an hour
_LINES = 45  # days that are drawn one by one; the others are summed up
_DAY = timedelta(days=1)
_MANY = 9
_STYLES = {
    TrackingStatus.PENDING: "magenta",
    TrackingStatus.PRE_TRANSIT: "cyan",
    TrackingStatus.IN_TRANSIT: "yellow",
    TrackingStatus.UNKNOWN: "red",
}
_ENDINGS = {TrackingStatus.DELIVERED: ("D", "bold green"), TrackingStatus.EXPIRED: ("X", "bold red")}


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn, in which zone, how wide; `daytime` of which status goes by the day's last poll."""

    forecast: Forecast
    daytimes: dict[TrackingStatus, Daytime]
    zone: ZoneInfo
    pickup: date | None = None
    width: int = _WIDE

    @property
    def cells_an_hour(self) -> int:
        """Two where the terminal is wide enough."""
        return 2 if self.width >= _WIDE else 1

    def lines(self) -> Iterator[Text]:
        """The heading, the days and what the marks mean."""
        yield self._heading()
        days = self._days()
        day, last, status = self._first_day(), self._local(self.forecast.ends_at).date(), self.forecast.polls[0].status
        for _ in range(_LINES):
            if day > last:
                break
            polls = days.get(day, [])
            status = polls[-1].status if polls else status
            yield self._line(day, polls, status)
            day += _DAY
        if day <= last:
            left = sum(len(polls) for when, polls in days.items() if when >= day)
            yield Text(f"... {(last - day).days + 1} more days with {left} polls")
        yield Text(self._legend(), style="dim")

    def _first_day(self) -> date:
        return self._local(self.forecast.start).date()

    def _local(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone)

    def _days(self) -> dict[date, list[Poll]]:
        days: dict[date, list[Poll]] = {}
        for poll in self.forecast.polls:
            days.setdefault(self._local(poll.at).date(), []).append(poll)
        return days

    def _heading(self) -> Text:
        each = 3 * self.cells_an_hour
        return Text(" " * 13 + "".join(f"{hour:02}".ljust(each) for hour in range(0, 24, 3)).rstrip(), style="dim")

    def _line(self, day: date, polls: list[Poll], status: TrackingStatus) -> Text:
        near = self.pickup is not None and day in (self.pickup, self.pickup + _DAY)
        line = Text(f"{day:%a} {day.day:2} {day:%b} {'*' if near else ' '}|")
        cells: dict[int, list[Poll]] = {}
        for poll in polls:
            cells.setdefault(self._cell(poll.at), []).append(poll)
        for cell in range(24 * self.cells_an_hour):
            line.append_text(self._mark(day, cell, cells.get(cell, []), status))
        line.append(f"|{len(polls):4} ")
        line.append(status, style=_STYLES.get(status, "green"))
        return line

    def _cell(self, moment: datetime) -> int:
        local = self._local(moment)
        return (local.hour * 60 + local.minute) * self.cells_an_hour // 60

    def _mark(self, day: date, cell: int, polls: list[Poll], status: TrackingStatus) -> Text:
        """A creation and an end before a number; without a poll a dot by day and nothing by night."""
        forecast = self.forecast
        if day == self._first_day() and cell == self._cell(forecast.start):
            return Text("C", style="bold")
        if polls and forecast.ending and polls[-1] is forecast.polls[-1]:
            return Text(*_ENDINGS[forecast.ending])
        by_day = self._is_day(cell, status)
        if polls:
            style = _STYLES.get(polls[0].status, "green") + ("" if by_day else " dim")
            return Text(str(len(polls)) if len(polls) <= _MANY else "#", style=style)
        return Text(".", style="dim") if by_day and self._is_in_life(day, cell) else Text(" ")

    def _is_day(self, cell: int, status: TrackingStatus) -> bool:
        daytime = self.daytimes.get(status) or next(reversed(self.daytimes.values()))
        since = timedelta(hours=cell / self.cells_an_hour)
        return (since - daytime.start) % _DAY < daytime.length

    def _is_in_life(self, day: date, cell: int) -> bool:
        start, end = self._local(self.forecast.start), self._local(self.forecast.ends_at)
        begins, ends = (start.date(), self._cell(start)), (end.date(), self._cell(end))
        return begins <= (day, cell) <= ends

    def _legend(self) -> str:
        near = ", * near pickup" if self.pickup else ""
        return f"C created, 1-9 polls, # more, D delivered, X expired, . by day{near}"
