"""Pages of what there is, and the same as JSON: a face over the use cases, on the listener of /metrics."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from worker.settings import Settings
from worker.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from worker.web.pages import Pages

log = structlog.get_logger()


def open_pages(
    settings: Settings,
    metrics: Metrics,
    current_url: Callable[[], str],
    hide: Callable[..., None],
    check_file: Callable[[], None] = lambda: None,
) -> "Pages | None":
    """The pages of a worker, as `Pages` is told; None where none is shown, which the log says."""
    if not settings.http.has_pages:
        log.info("pages_hidden", hint="http.listen is not loopback: they need a token, [http.tokens.NAME]")
        return None
    from worker.web.pages import Pages  # noqa: PLC0415 - jinja2 is loaded only where pages are shown

    return Pages(settings, metrics, current_url, hide, check_file)
