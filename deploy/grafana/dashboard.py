#!/usr/bin/env python3
"""Prints the Grafana dashboard: `deploy/grafana/dashboard.py > deploy/grafana/dashboard.json`.

Needs grafana-foundation-sdk (`pip install -e '.[test]'`). A test compares the file with what this prints, and asks
every query of a real Prometheus. Colours are Grafana's named ones, so that it reads in dark and in light.
"""

import json
from typing import Any

import rows_of_returns
import rows_of_service
from grafana_foundation_sdk.builders.dashboard import (
    ConstantVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard as Model
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableRefresh,
    VariableSort,
)
from panels import DATASOURCE
from queries import JOB

RUNBOOK = "deploy/RUNBOOK.md"


def dashboard() -> Model:
    """All of it, row by row."""
    made = (
        Dashboard("Returns worker")
        .uid("returns-worker")
        .description("What returns-worker does, by account. Each panel says what a bad value means.")
        .tags(["returns-worker"])
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("1m")
        .variables(_variables())
        .link(
            DashboardLink("Runbook").type(DashboardLinkType.LINK).icon("doc").url("${runbook}").target_blank(True),
        )
    )
    for title, panels in (
        ("At a glance", rows_of_returns.glance()),
        ("Intake and backlog", rows_of_returns.backlog()),
        ("Ages", rows_of_returns.ages()),
        ("Outcomes of steps", rows_of_returns.outcomes()),
        ("Carrier", rows_of_service.carrier()),
        ("Health of accounts", rows_of_service.health()),
        ("Labels and the carrier's words", rows_of_returns.labels()),
        ("Where returns went", rows_of_returns.flow()),
        ("News", rows_of_service.news()),
        ("The process", rows_of_service.process()),
        ("Database, backup, clock", rows_of_service.storage()),
    ):
        made.with_row(Row(title))
        for panel in panels:
            made.with_panel(panel)
    return _settled(made.build())


def _settled(made: Model) -> Model:
    """What the builders leave open: panels are numbered, and the runbook's address is no choice."""
    for number, panel in enumerate(made.panels or [], start=1):
        panel.id_val = number
    assert made.templating is not None
    (runbook,) = (each for each in made.templating.list_val or [] if each.name == "runbook")
    runbook.hide = VariableHide.HIDE_VARIABLE
    return made


def _variables() -> list[Any]:
    return [
        DatasourceVariable("datasource").label("Data source").type("prometheus"),
        QueryVariable("job")
        .label("Job")
        .query("label_values(returns_worker_build_info, job)")
        .datasource(DATASOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC),
        QueryVariable("account")
        .label("Account")
        .query(f"label_values(returns_worker_orders{{{JOB}}}, account)")
        .datasource(DATASOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*"),
        ConstantVariable("runbook").label("Address of the runbook").value(RUNBOOK),
    ]


def document() -> str:
    """The dashboard as JSON, without the theme that the builders ask for: each reader has their own."""
    written = json.loads(JSONEncoder().encode(dashboard()))
    del written["style"]
    return json.dumps(written, indent=2, sort_keys=True)


if __name__ == "__main__":
    print(document())
