"""Every metric, declared once; series exist at 0 from the start; no label ever holds an order's id or free text."""

from collections.abc import Iterable, Mapping
from itertools import product
from math import nan

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics import MetricWrapperBase

disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
_DELAYS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)

_NEWS_DELAYS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 36_000.0, 259_200.0)
_OF_WEBHOOK = ("subscriber", "outcome")

CIRCUITS = ("account", "creations")
"""The values of the label `circuit`."""


class Metrics:
    """The worker's metrics in a registry of their own."""

    def __init__(self, version: str) -> None:
        """Declare them; `version` is the worker's."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._of_accounts: list[Gauge] = []  # those with no label but the account
        self._read_from_database: list[Gauge] = []
        self._declare_gauges(version)
        self._declare_events()

    def _declare_gauges(self, version: str) -> None:
        self._gauge("build_info", "The version that runs.", "version").labels(version).set(1)
        self.orders = self._read("orders", "Returns that still ask for work, by state.", "account", "state")
        self.orders_unroutable = self._read("orders_unroutable", "Returns whose account is not configured.")
        self.orders_unknown_status = self._read(
            "orders_unknown_status", "Tracked returns whose last status word nothing maps.", "account"
        )
        self.orders_stranded = self._read(
            "orders_stranded", "Returns leased, or put off, further ahead than can be: by a clock that was wrong."
        )
        self.orders_due = self._read("orders_due", "Returns due now and held by nobody.", "account")
        self.oldest_due = self._read(
            "oldest_due_timestamp_seconds", "When the longest overdue return became due; 0 when none is.", "account"
        )
        self.labels_missing = self._read("labels_missing", "Tracked returns whose label is being sought.", "account")
        self.oldest_missing_label = self._read(
            "oldest_missing_label_timestamp_seconds",
            "Since when the label that is missing longest has been sought; 0 when none is.",
            "account",
        )
        self.account_held_until = self._read(
            "account_held_until_timestamp_seconds",
            "Until when the account waits; 0 not held, +Inf a person.",
            "account",
        )
        self.creations_held = self._read(
            "account_creations_held", "1 while a person holds the account's creations alone.", "account"
        )
        self.sending_stopped = self._read(
            "account_sending_stopped",
            "1 while no creation is sent to the account's address, which by an answer takes none.",
            "account",
        )
        self.circuit_open_until = self._read(
            "account_circuit_open_until_timestamp_seconds",
            "Until when the account, or its creations, are left alone; 0 closed, in the past half-open.",
            "account",
            "circuit",
        )
        self.shortfall = self._read(
            "account_shortfall_seconds", "How far what is due runs behind, or would at the account's pace.", "account"
        )
        self.poll_demand = self._read(
            "account_poll_demand_requests_per_minute",
            "What the account's open returns ask for, by the cadence, one by one.",
            "account",
        )
        self.rate_limit = self._gauge(
            "account_rate_limit_requests_per_minute", "The account's limit; 0 none.", "account"
        )
        self.key_refused = self._read(
            "account_key_refused", "1 while the account waits because the carrier refused its key.", "account"
        )
        self.key_unreadable = self._gauge(
            "account_key_unreadable", "1 while the account's key cannot be read; the last one stays in use.", "account"
        )
        self.database_url_unreadable = self._gauge(
            "database_url_unreadable", "1 while `database.url_file` cannot be used; the last good URL stays in use."
        )
        self.news_pending = self._read(
            "news_events_pending",
            "Events in return_event that the subscriber has not deleted yet; counted to 10,000.",
            "subscriber",
        )
        self.news_oldest = self._read(
            "news_oldest_pending_timestamp_seconds", "When the oldest of them happened; 0 when none is.", "subscriber"
        )
        self.news_keep = self._read(
            "news_keep_seconds",
            "After so long the subscriber's events are dropped, unless it deletes them.",
            "subscriber",
        )
        self.news_served = self._read(
            "news_subscriber_served", "1 while a living worker has the subscriber in its settings.", "subscriber"
        )
        self.erasures_due = self._read(
            "erasures_due",
            "Returns whose personal data is to be erased by now, or whose files are; counted to 100,000.",
        )
        self.last_backup = self._read(
            "last_backup_timestamp_seconds", "When `returns-worker backup` last succeeded; 0 never, NaN on PostgreSQL."
        )
        self.webhook_pending = self._read(
            "webhook_events_pending", "Events that a webhook has yet to be told; counted to 10,000.", "subscriber"
        )
        self.webhook_oldest = self._read(
            "webhook_oldest_pending_timestamp_seconds",
            "When the oldest event happened that a webhook has yet to be told; 0 when none waits.",
            "subscriber",
        )
        self.webhook_held_until = self._read(
            "webhook_held_until_timestamp_seconds",
            "Until when nothing is sent to the webhook; 0 not held, +Inf until a person acts.",
            "subscriber",
        )
        self.gauges_read = self._gauge(
            "gauges_read_timestamp_seconds", "When what the gauges tell was read from the database; 0 never."
        )
        self.clock_offset = self._read("clock_offset_seconds", "How far the database's clock is ahead of this one.")
        self.last_tick = self._gauge("last_tick_timestamp_seconds", "When the loop last turned.")
        self.in_flight = self._gauge("in_flight", "Steps being done now by this worker.", "account")

    def _declare_events(self) -> None:
        self.steps = self._counter("steps_total", "Steps done, by how they ended.", "account", "step", "outcome")
        self.schedule_delay = self._histogram("schedule_delay_seconds", "From due to claimed.", _DELAYS, "step")
        self.carrier_requests = self._counter(
            "carrier_requests_total", "Requests to a carrier, by how they ended.", "account", "operation", "outcome"
        )
        self.carrier_request_duration = self._histogram(
            "carrier_request_duration_seconds", "Duration of requests to a carrier.", _SECONDS, "account", "operation"
        )
        self.transitions = self._counter(
            "transitions_total", "Changes that this worker recorded; not those of commands.", "account", "field", "to"
        )
        self.unknown_carrier_status = self._counter(
            "unknown_carrier_status_total", "Answers with a status word that nothing maps.", "account"
        )
        self.unknown_label_codes = self._counter(
            "unknown_label_codes_total", "Label codes that a status named and no creation brought.", "account"
        )
        self.leases_lost = self._counter("leases_lost_total", "Results dropped because another worker had the return.")
        self.log_lines_dropped = self._counter(
            "log_lines_dropped_total", "Lines of the log that nobody took in time, or that could not be written."
        )
        self.returns_erased = self._counter(
            "returns_erased_total", "Returns whose personal data this worker erased; not those of commands."
        )
        self.webhook_deliveries = self._counter(
            "webhook_deliveries_total", "Tries to tell a webhook of an event, by how they ended.", *_OF_WEBHOOK
        )
        self.webhook_delay = self._histogram(
            "webhook_delay_seconds", "From what happened to its event's 2xx.", _NEWS_DELAYS, "subscriber"
        )
        self.webhook_given_up = self._counter(
            "webhook_given_up_total", "Events that this worker gave up to tell a webhook of.", "subscriber"
        )
        self.news_dropped = self._counter(
            "news_events_dropped_total",
            "Events that this worker dropped since the subscriber had not taken them within `keep`.",
            "subscriber",
        )
        self.page_requests = self._counter("page_requests_total", "Requests for pages, by answer.", "page", "status")
        self.storage_errors = self._counter(
            "storage_errors_total", "Tries at the database or the label store that failed.", "operation"
        )

    def expect(
        self,
        accounts: Mapping[str, Iterable[str]],
        *,
        steps: dict[str, tuple[str, ...]],
        states: Iterable[str],
        request_outcomes: Iterable[str],
        transitions: Iterable[tuple[str, str]],
    ) -> None:
        """Create every series at 0, for each account those of its operations: an absent one makes alerts silent."""
        _each(self.schedule_delay, steps)
        _each(self.storage_errors, ("claim", "record", "gauges", "labels", "webhooks"))
        for metric in (*self._of_accounts, self.unknown_carrier_status, self.unknown_label_codes):
            _each(metric, accounts)
        _each(self.circuit_open_until, accounts, CIRCUITS)
        _each(self.orders, accounts, states)
        for step, outcomes in steps.items():
            _each(self.steps, accounts, (step,), outcomes)
        for field, to in transitions:
            _each(self.transitions, accounts, (field,), (to,))
        for account, operations in accounts.items():
            _each(self.carrier_request_duration, (account,), operations)
            _each(self.carrier_requests, (account,), operations, request_outcomes)

    def expect_webhooks(self, subscribers: Iterable[str], outcomes: Iterable[str]) -> None:
        """The same for each webhook that is configured."""
        names = tuple(subscribers)
        for metric in (self.webhook_pending, self.webhook_oldest, self.webhook_held_until, self.webhook_delay):
            _each(metric, names)
        _each(self.webhook_given_up, names)
        _each(self.webhook_deliveries, names, outcomes)

    def expect_subscribers(self, names: Iterable[str], tables: Iterable[str]) -> None:
        """The same for each subscriber that is configured; `tables` are those of that kind."""
        for metric in (self.news_served, self.news_dropped):
            _each(metric, names)
        for metric in (self.news_pending, self.news_oldest, self.news_keep):
            _each(metric, tables)

    def forget_subscriber(self, name: str) -> None:
        """A subscriber that is registered no more has no series."""
        for gauge in (self.news_served, self.news_pending, self.news_oldest, self.news_keep):
            gauge.remove(name)

    def expect_pages(self, pages: Iterable[str], statuses: Iterable[str]) -> None:
        """Create the series of each page and answer at 0, where pages are served."""
        _each(self.page_requests, pages, statuses)

    def forget_what_the_database_said(self) -> None:
        """Gauges that are read from the database are NaN while it cannot be read, which no comparison finds true."""
        for gauge in self._read_from_database:
            for metric in gauge.collect():
                for sample in metric.samples:
                    (gauge.labels(**sample.labels) if sample.labels else gauge).set(nan)

    def _read(self, name: str, text: str, *labels: str) -> Gauge:
        """A gauge that is read from the database."""
        gauge = self._gauge(name, text, *labels)
        self._read_from_database.append(gauge)
        return gauge

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        gauge = Gauge(f"returns_worker_{name}", text, labels, registry=self.registry)
        if labels == ("account",):
            self._of_accounts.append(gauge)
        return gauge

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"returns_worker_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"returns_worker_{name}", text, labels, buckets=buckets, registry=self.registry)


def _each(metric: MetricWrapperBase, *values: Iterable[str]) -> None:
    """Have the series of each combination of the labels' values."""
    for labels in product(*values):
        metric.labels(*labels)
