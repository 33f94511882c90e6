"""The rows about what the work stands on: carrier, accounts, who is told, processes, database."""

from typing import Any

from panels import lines, states
from queries import BAD, JOB, ONE, largest, per_minute, quantile


def carrier() -> list[Any]:
    """What the carrier answers, and how fast."""
    requests = "carrier_requests_total"
    bad = f'sum by (account) (rate(returns_worker_{requests}{{{ONE}, outcome=~"{BAD}"}}[$__rate_interval]))'
    every = f"sum by (account) (rate(returns_worker_{requests}{{{ONE}}}[$__rate_interval]))"
    return [
        lines(
            "Requests by outcome",
            {"{{outcome}}": per_minute(requests, "outcome")},
            unit="cpm",
            says="ok and refused (400, 404) are answers. unauthorized holds the account; throttled slows it; the rest "
            "is the carrier's or the network's failure.",
            alerts=["ReturnsCarrierFailing", "ReturnsCarrierThrottles", "ReturnsKeyRefused"],
            stacked=True,
        ),
        lines(
            "Requests that failed",
            {"{{account}}": f"{bad} / ({every} > 0)"},
            unit="percentunit",
            says="Server errors, time-outs, cut connections, answers without sense. A quarter is a ticket; then the "
            "circuit opens.",
            alerts=["ReturnsCarrierFailing", "ReturnsCircuitOpen"],
            most=1,
        ),
        lines(
            "Duration of requests",
            {f"p{share * 100:g}": quantile(share, "carrier_request_duration_seconds") for share in (0.5, 0.95, 0.99)},
            unit="s",
            says="Near the account's timeout: answers get lost, and a lost creation has to be looked up, or asks a "
            "person.",
            alerts=["ReturnsCarrierFailing"],
        ),
    ]


def health() -> list[Any]:
    """What accounts wait for, and whether their limit serves them."""
    held = "account_held_until_timestamp_seconds"
    circuit = largest("account_circuit_open_until_timestamp_seconds", "account", "circuit")
    return [
        states(
            "Held",
            {
                "{{account}}": f"({largest(held)} > bool time()) + ({largest(held)} == bool Inf)",
                "{{account}} creations": largest("account_creations_held"),
                "{{account}} sending": f"2 * {largest('account_sending_stopped')}",
            },
            values={0: ("no", "green"), 1: ("waits", "yellow"), 2: ("for a person", "red")},
            says="waits: the carrier asked for it, or a hold with an end, or (creations) a person holds them. for a "
            "person: held by hand without an end, or the key is refused, or (sending) the address takes no creations.",
            alerts=["ReturnsAccountHeld", "ReturnsCreationsHeld", "ReturnsKeyRefused", "ReturnsSendingStopped"],
        ),
        states(
            "Circuits",
            {"{{account}} {{circuit}}": f"({circuit} > bool 0) + ({circuit} > bool time())"},
            values={0: ("closed", "green"), 1: ("half-open", "yellow"), 2: ("open", "red")},
            says="open: the carrier failed again and again and is left alone. half-open: the next request is a probe.",
            alerts=["ReturnsCircuitOpen"],
        ),
        states(
            "Key",
            {
                "{{account}} {{instance}}": f"2 * (returns_worker_account_key_refused{{{ONE}}} == 1)"
                f" or returns_worker_account_key_unreadable{{{ONE}}}"
            },
            values={0: ("in use", "green"), 1: ("unreadable", "yellow"), 2: ("refused", "red")},
            says="unreadable: the last key stays in use; the next start will have none. refused: the carrier answered "
            "401 or 403, and the account waits for another key.",
            alerts=["ReturnsKeyRefused", "ReturnsKeyUnreadable"],
        ),
        lines(
            "Demand, use and limit",
            {
                "{{account}} demand": largest("account_poll_demand_requests_per_minute"),
                "{{account}} used": per_minute("carrier_requests_total", "account"),
                "{{account}} limit": f"{largest('account_rate_limit_requests_per_minute')} > 0",
            },
            unit="cpm",
            says="Requests a minute. Demand above the limit: polls will be ever later, but for carriers whose list "
            "serves many returns at once. Without a limit there is no line.",
            alerts=["ReturnsPollDemandAboveLimit"],
            span=24,
        ),
    ]


def news() -> list[Any]:
    """Who is told of changes, and how that goes."""
    held = largest("webhook_held_until_timestamp_seconds", "subscriber", where=JOB)
    oldest, unread = "webhook_oldest_pending_timestamp_seconds", "news_oldest_pending_timestamp_seconds"
    return [
        states(
            "Webhooks held",
            {"{{subscriber}}": f"({held} > bool time()) + ({held} == bool Inf)"},
            values={0: ("no", "green"), 1: ("rests", "yellow"), 2: ("for a person", "red")},
            says="rests: the endpoint asked for it. for a person: somebody holds it, or the endpoint answered 410; a "
            "release ends it.",
            alerts=["ReturnsWebhookHeld"],
        ),
        lines(
            "Age of the oldest event that waits",
            {
                "{{subscriber}}": f"time() - ({largest(oldest, 'subscriber', where=JOB)} > 0)"
                f" or 0 * {largest(oldest, 'subscriber', where=JOB)}",
                "{{subscriber}} unread": f"time() - ({largest(unread, 'subscriber', where=JOB)} > 0)"
                f" or 0 * {largest(unread, 'subscriber', where=JOB)}",
            },
            unit="s",
            says="Over a quarter of an hour at a webhook: its endpoint fails, or is slow. unread is a table: after its "
            "keep events are dropped.",
            alerts=["ReturnsWebhookBehind", "ReturnsNewsUnread", "ReturnsSubscriberUnserved"],
        ),
        lines(
            "Events that wait",
            {
                "{{subscriber}}": largest("webhook_events_pending", "subscriber", where=JOB),
                "{{subscriber}} unread": largest("news_events_pending", "subscriber", where=JOB),
            },
            unit="none",
            says="Rising without an end: nothing is delivered, or a table is not read.",
            alerts=["ReturnsWebhookBehind", "ReturnsNewsUnread"],
        ),
        lines(
            "Tries by outcome",
            {"{{outcome}}": per_minute("webhook_deliveries_total", "outcome", where=JOB)},
            unit="cpm",
            says="delivered is well. Anything else is sent again, and holds up its subscriber alone.",
            alerts=["ReturnsWebhookBehind"],
            stacked=True,
        ),
        lines(
            "From what happened to its delivery",
            {f"p{share * 100:g}": quantile(share, "webhook_delay_seconds", where=JOB) for share in (0.5, 0.95)},
            unit="s",
            says="A second or two where the endpoint is well; minutes after it failed.",
            alerts=["ReturnsWebhookBehind"],
        ),
        lines(
            "Given up, or dropped unread",
            {
                "{{subscriber}}": per_minute("webhook_given_up_total", "subscriber", where=JOB),
                "{{subscriber}} dropped": per_minute("news_events_dropped_total", "subscriber", where=JOB),
            },
            unit="cpm",
            says="Any at all: the subscriber was not told of something, and hears of it only by a replay.",
            alerts=["ReturnsWebhookGivenUp", "ReturnsNewsUnread"],
        ),
    ]


def process() -> list[Any]:
    """The workers as processes."""
    return [
        lines(
            "CPU",
            {"{{instance}}": f"rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval])"},
            unit="percentunit",
            says="1 is a whole core, and all that one process can use: then start another worker (PostgreSQL).",
        ),
        lines(
            "Memory",
            {"{{instance}}": f"process_resident_memory_bytes{{{JOB}}}"},
            unit="bytes",
            says="Resident. Growing for days is a leak; the service's limit ends the process.",
        ),
        lines(
            "Open files, of those allowed",
            {"{{instance}}": f"process_open_fds{{{JOB}}} / process_max_fds{{{JOB}}}"},
            unit="percentunit",
            says="Connections and files. Near 100 % nothing can be opened.",
        ),
        lines(
            "Running for",
            {"{{instance}}": f"time() - process_start_time_seconds{{{JOB}}}"},
            unit="s",
            says="Each fall to 0 is a start. Several an hour: it crashes.",
            alerts=["ReturnsWorkerRestarting"],
        ),
        lines(
            "Since the loop last turned",
            {
                "{{instance}}": f"time() - returns_worker_last_tick_timestamp_seconds{{{JOB}}}",
                "{{instance}} gauges": f"time() - returns_worker_gauges_read_timestamp_seconds{{{JOB}}}",
            },
            unit="s",
            says="Up to worker.tick, or worker.gauges (90 s with very many returns), and the scrape interval. Two "
            "minutes without a turn: it stalls. Ten without a look: the other panels tell what was.",
            alerts=["ReturnsWorkerStalled", "ReturnsGaugesStale"],
        ),
        lines(
            "Steps in flight",
            {"{{account}}": f"sum by (account) (returns_worker_in_flight{{{ONE}}})"},
            unit="none",
            says="Being done now, over all workers. At max_in_flight all the time: answers are slow, or the places "
            "too few.",
        ),
    ]


def storage() -> list[Any]:
    """What the workers stand on."""
    return [
        lines(
            "Failed tries at the database and the label store",
            {"{{operation}}": per_minute("storage_errors_total", "operation", where=JOB)},
            unit="cpm",
            says="claim, record, gauges: the database. labels: the label store. Anything that lasts: nothing is "
            "written down.",
            alerts=["ReturnsStorageErrors", "ReturnsLabelStoreErrors"],
        ),
        lines(
            "Results lost to another worker",
            {"lost": per_minute("leases_lost_total", "job", where=JOB)},
            unit="cpm",
            says="Steps that outlived their lease. More than one now and then: a slow database, or a suspended "
            "machine.",
            alerts=["ReturnsLeasesLost"],
        ),
        lines(
            "The database's clock is ahead by",
            {"{{instance}}": f"returns_worker_clock_offset_seconds{{{JOB}}}"},
            unit="s",
            says="Always 0 on SQLite. Beyond 30 s one clock is wrong; beyond a minute no worker starts.",
            alerts=["ReturnsClockOff"],
        ),
    ]
