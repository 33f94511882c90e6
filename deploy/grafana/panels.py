"""The kinds of panels that the dashboard is made of; each has a unit and says what a bad value means."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import bargauge, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

Queries = Mapping[str, str]  # legend -> expression
Steps = Sequence[tuple[float | None, str]]  # from this value on (None: below all) -> one of Grafana's named colours,
# which it draws differently on dark and on light


def lines(
    title: str,
    queries: Queries,
    *,
    unit: str,
    says: str,
    alerts: Iterable[str] = (),
    span: int = 8,
    stacked: bool = False,
    most: float | None = None,
) -> timeseries.Panel:
    """Values over time; `says` is what a bad value means, `alerts` lead into the runbook."""
    panel = timeseries.Panel()
    panel.fill_opacity(40 if stacked else 5).line_width(1).show_points(VisibilityMode.NEVER).axis_soft_min(0)
    if stacked:
        panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
    if most is not None:
        panel.axis_soft_max(most)
    panel.legend(
        VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    panel.tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    return _finished(panel, title, queries, unit, says, alerts, span, 8)


def figures(
    title: str,
    queries: Queries,
    *,
    unit: str,
    says: str,
    steps: Steps = ((None, "green"),),
    alerts: Iterable[str] = (),
    span: int = 4,
    names: bool = False,
) -> stat.Panel:
    """The newest value, large; with `names` what the legend says is the value."""
    panel = stat.Panel().graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE)
    panel.text_mode(BigValueTextMode.NAME if names else BigValueTextMode.AUTO)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.no_value("none")
    panel.thresholds(_thresholds(steps))
    return _finished(panel, title, queries, unit, says, alerts, span, 4, instant=True)


def states(
    title: str,
    queries: Queries,
    *,
    values: Mapping[int, tuple[str, str]],
    says: str,
    alerts: Iterable[str] = (),
    span: int = 8,
) -> statetimeline.Panel:
    """What something was over time: each value has a word and a colour."""
    panel = statetimeline.Panel().show_value(VisibilityMode.AUTO).fill_opacity(70).line_width(0).row_height(0.8)
    words = {
        str(value): ValueMappingResult(text=word, color=color, index=value) for value, (word, color) in values.items()
    }
    panel.mappings([ValueMap(options=words)])
    panel.thresholds(_thresholds([(None if value == 0 else value, color) for value, (_, color) in values.items()]))
    return _finished(panel, title, queries, "none", says, alerts, span, 8)


def bars(
    title: str, queries: Queries, *, unit: str, says: str, alerts: Iterable[str] = (), span: int = 12
) -> bargauge.Panel:
    """Sums over the shown time, one bar each."""
    panel = bargauge.Panel().orientation(VizOrientation.HORIZONTAL).display_mode(BarGaugeDisplayMode.BASIC)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.min(0).decimals(0)
    panel.thresholds(_thresholds([(None, "blue")]))
    return _finished(panel, title, queries, unit, says, alerts, span, 8, instant=True)


def _finished(
    panel: Any,
    title: str,
    queries: Queries,
    unit: str,
    says: str,
    alerts: Iterable[str],
    span: int,
    height: int,
    *,
    instant: bool = False,
) -> Any:
    panel.title(title).description(says).unit(unit).span(span).height(height).datasource(DATASOURCE)
    panel.links([_runbook(alert) for alert in alerts])
    for letter, (legend, expression) in zip("ABCDEFG", queries.items(), strict=False):
        query = Dataquery().expr(expression).legend_format(legend).ref_id(letter).datasource(DATASOURCE)
        panel.with_target(query.instant() if instant else query.range())
    return panel


def _thresholds(steps: Steps) -> ThresholdsConfig:
    made = [Threshold(value=value, color=color) for value, color in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _runbook(alert: str) -> DashboardLink:
    link = DashboardLink(f"Runbook: {alert}").type(DashboardLinkType.LINK).target_blank(True)
    return link.url(f"${{runbook}}#{alert.lower()}")
