"""The rows about returns: how many, how late, how they end, where they go."""

from typing import Any

from panels import bars, figures, lines
from queries import JOB, ONE, OPEN, WAITING, largest, per_minute, quantile


def glance() -> list[Any]:
    """What whoever opens the page wants to know first."""
    return [
        figures(
            "Alerts",
            {"firing": 'count(ALERTS{alertstate="firing", alertname=~"Returns.*"}) or vector(0)'},
            unit="none",
            says="Alerts of returns-worker that fire now. Anything but 0: see Prometheus's page of alerts, then the "
            "runbook.",
            steps=[(None, "green"), (1, "red")],
        ),
        figures(
            "Workers",
            {"up": f"count(returns_worker_last_tick_timestamp_seconds{{{JOB}}}) or vector(0)"},
            unit="none",
            says="Workers that answer. 0: nothing is created or followed.",
            steps=[(None, "red"), (1, "green")],
            alerts=["ReturnsWorkerDown", "ReturnsWorkerMissing"],
        ),
        figures(
            "For a person",
            {"needs_attention": f"sum({largest('orders', 'job', 'account', where=WAITING)})"},
            unit="none",
            says="Returns in needs_attention: they wait until a person decides.",
            steps=[(None, "green"), (1, "orange")],
            alerts=["ReturnsNeedAttention"],
        ),
        figures(
            "Open",
            {"open": f"sum({largest('orders', 'job', 'account', 'state', where=OPEN)})"},
            unit="none",
            says="Returns that are created or followed. A sudden fall means that they ended together: see the last "
            "row but two.",
        ),
        figures(
            "Backup",
            {"age": f"time() - ({largest('last_backup_timestamp_seconds', 'job', where=JOB)} > 0)"},
            unit="s",
            says="Age of the last `returns-worker backup`. More than a day is too old; none: never, or a PostgreSQL, "
            "whose backups are its own.",
            steps=[(None, "green"), (93600, "red")],
            alerts=["ReturnsBackupStale"],
        ),
        figures(
            "Version",
            {"{{version}}": f"count by (version) (returns_worker_build_info{{{JOB}}})"},
            unit="none",
            says="Versions that run. Two for longer than an upgrade takes: one worker was forgotten.",
            names=True,
        ),
    ]


def backlog() -> list[Any]:
    """What came in and what is still to be done."""
    return [
        lines(
            "Returns that still ask for work",
            {"{{account}} {{state}}": largest("orders", "account", "state")},
            unit="none",
            says="By state. pending that grows: creations do not go through. needs_attention waits for a person.",
            alerts=["ReturnsNeedAttention"],
        ),
        lines(
            "Due now and held by nobody",
            {
                "{{account}}": largest("orders_due"),
                "unroutable": largest("orders_unroutable", "job", where=JOB),
                "stranded": largest("orders_stranded", "job", where=JOB),
            },
            unit="none",
            says="Near 0 on a healthy worker. Growing: more is due than is done. unroutable: the account is not "
            "configured. stranded: put off by a clock that was wrong.",
            alerts=["ReturnsOldestDueTooOld", "ReturnsUnroutable", "ReturnsStranded"],
        ),
        lines(
            "Created per minute",
            {
                "{{account}}": per_minute(
                    "steps_total", "account", where=ONE + ', step="create", outcome=~"created|adopted"'
                )
            },
            unit="cpm",
            says="New at the carrier, found ones (adopted) too. 0 while pending grows: see the account's health.",
        ),
    ]


def ages() -> list[Any]:
    """How late things are."""
    oldest = largest("oldest_due_timestamp_seconds")
    return [
        lines(
            "Longest overdue return",
            {"{{account}}": f"(time() - ({oldest} > 0)) or 0 * {oldest}"},
            unit="s",
            says="0 when nothing is due. More than half an hour pages, unless the account is held, left alone or at "
            "its limit.",
            alerts=["ReturnsOldestDueTooOld"],
        ),
        lines(
            "From due to taken",
            {f"p{share * 100:g}": quantile(share, "schedule_delay_seconds", where=JOB) for share in (0.5, 0.95, 0.99)},
            unit="s",
            says="How long what is due waits for a worker. Seconds are normal; minutes mean that the limit or the "
            "places (max_in_flight) are too few.",
            alerts=["ReturnsAccountBehind"],
        ),
        lines(
            "How far accounts run behind",
            {"{{account}}": largest("account_shortfall_seconds")},
            unit="s",
            says="The age of what is due longest, or the time that all that is due takes at the account's pace. A "
            "quarter of an hour is too much.",
            alerts=["ReturnsAccountBehind", "ReturnsPollDemandAboveLimit"],
        ),
    ]


def outcomes() -> list[Any]:
    """How steps ended."""
    failed = 'outcome=~"retrying|waiting|rejected|needs_attention|refused"'
    return [
        lines(
            "Steps that made progress",
            {
                "{{step}} {{outcome}}": per_minute(
                    "steps_total",
                    "step",
                    "outcome",
                    where=f'{ONE}, outcome!~"retrying|waiting|rejected|needs_attention|refused"',
                )
                + " > 0"
            },
            unit="cpm",
            says="By step and how it ended; all 0 are left out. Much unchanged is normal: most polls bring no news.",
            stacked=True,
            span=12,
        ),
        lines(
            "Steps that did not",
            {"{{step}} {{outcome}}": per_minute("steps_total", "step", "outcome", where=f"{ONE}, {failed}")},
            unit="cpm",
            says="retrying: tried again later. waiting: the account was held. rejected: the shop mends it. "
            "needs_attention: a person decides.",
            alerts=["ReturnsRejectedRising", "ReturnsNeedAttention"],
            span=12,
        ),
    ]


def labels() -> list[Any]:
    """Labels that came and did not, and words that nobody knows."""
    labels = f'{ONE}, step="label"'
    oldest = largest("oldest_missing_label_timestamp_seconds")
    return [
        lines(
            "Labels missing",
            {"{{account}}": largest("labels_missing")},
            unit="none",
            says="Returns at the carrier whose label is being sought. Not falling: the customer cannot send the "
            "parcel.",
            alerts=["ReturnsLabelMissing"],
            span=12,
        ),
        lines(
            "Age of the oldest missing label",
            {"{{account}}": f"(time() - ({oldest} > 0)) or 0 * {oldest}"},
            unit="s",
            says="How long the label that is missing longest has been sought. Labels come within minutes: hours mean "
            "that one is refused, or its address is dead.",
            alerts=["ReturnsLabelMissing"],
            span=12,
        ),
        lines(
            "Labels stored, and tries that failed",
            {"{{account}} {{outcome}}": per_minute("steps_total", "account", "outcome", where=labels)},
            unit="cpm",
            says="retrying without stored: labels do not come, are no whole PDF, or cannot be stored; `show` says why.",
            alerts=["ReturnsLabelMissing"],
            span=12,
        ),
        lines(
            "Answers with a word that nothing maps",
            {"{{account}}": per_minute("unknown_carrier_status_total", "account")},
            unit="cpm",
            says="Such returns are unknown and polled on. Map the word: it may be the one that ends them.",
            alerts=["ReturnsUnknownCarrierStatus"],
            span=12,
        ),
    ]


def flow() -> list[Any]:
    """Where returns went. The metric knows only where to, so it is bars and not a picture of streams."""

    def gone(field: str) -> str:
        where = f'{ONE}, field="{field}"'
        return f"sort_desc(sum by (to) (increase(returns_worker_transitions_total{{{where}}}[$__range])))"

    return [
        bars(
            "By state, in the time shown",
            {"{{to}}": gone("state")},
            unit="none",
            says="How many returns came to each state; the metric does not say from where. Many rejected or "
            "needs_attention: see the runbook.",
            alerts=["ReturnsRejectedRising", "ReturnsNeedAttention"],
        ),
        bars(
            "By tracking status, in the time shown",
            {"{{to}}": gone("tracking_status")},
            unit="none",
            says="How many parcels came to each status. Much expired: the word for the end is not mapped, or max_age "
            "is too short.",
            alerts=["ReturnsExpiredRising", "ReturnsUnknownCarrierStatus"],
        ),
        lines(
            "Returns that came to an end",
            {
                "{{to}}": per_minute(
                    "transitions_total", "to", where=f'{ONE}, field="state", to=~"completed|rejected|cancelled"'
                )
            },
            unit="cpm",
            says="completed is the good end. Compare with what was created some days before.",
            alerts=["ReturnsRejectedRising"],
            stacked=True,
            span=12,
        ),
        lines(
            "Parcels under way and arrived",
            {"{{to}}": per_minute("transitions_total", "to", where=f'{ONE}, field="tracking_status"')},
            unit="cpm",
            says="Changes of tracking status. None for hours, while returns are tracked: the carrier, or its words, "
            "have changed.",
            stacked=True,
            span=12,
        ),
    ]
