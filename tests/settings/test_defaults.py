"""The defaults are the contract's, and config/worker.toml is the complete page of them."""

import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from worker.carriers.registry import CARRIERS
from worker.domain.pacing import RATES
from worker.domain.tracking import POLLED
from worker.settings import (
    AccountPolling,
    AccountSettings,
    NewsSettings,
    PollingOverride,
    PollingSettings,
    Settings,
    format_duration,
    load,
    show,
)
from worker.settings.model import TokenSettings
from worker.settings.problems import annotation_at, is_container

CONFIG = Path(__file__).parents[2] / "config"

CONTRACT = """
[database]
url = "sqlite:///returns.db"
auto_migrate = true
wait = "30s"
pooler = false
wake = true
[accounts.default]
carrier = "izipack"
rate_per_minute = 60
max_in_flight = 8
timeout = "20s"
proxy = ""
label_hosts = []
label_pages = "documented"
link_grace = "1d"
reject_past_pickup = false
[polling]
first = "15m"
factor = 1.5
cap = "6h"
jitter = 0.1
max_age = "60d"
near_pickup = "1h"
quiet_nights = false
daytime = "07:00-21:00"
timezone = "Europe/Amsterdam"
[polling.by_status.in_transit]
first = "30m"
[retry]
first = "2s"
factor = 2.0
cap = "15m"
max_attempts = 12
give_up_after = "2d"
not_found_grace = "1h"
not_found_wait = "6h"
[circuit]
failures = 5
first = "30s"
cap = "15m"
[worker]
tick = "1s"
lease = "90s"
grace = "25s"
gauges = "15s"
[labels]
store = "file:labels"
max_bytes = 20_000_000
[retention]
[http]
listen = "127.0.0.1:9464"
[log]
format = "auto"
level = "info"
"""


def test_every_default_is_the_contracts() -> None:
    assert tomllib.loads(show(Settings(accounts={"default": AccountSettings()}))) == tomllib.loads(CONTRACT)


def test_what_is_unset_by_default_is_known() -> None:
    account = AccountSettings()
    unset = {name for name in AccountSettings.model_fields if getattr(account, name) is None}
    assert unset == {"base_url", "api_key", "api_key_file", "rate_per_minute", "ca_file", "receiver"}
    assert (account.status_map, account.polling) == ({}, AccountPolling())
    assert Settings().accounts == {}


def test_every_carrier_that_may_be_named_has_its_rate_and_its_adapter() -> None:
    assert set(RATES) == set(CARRIERS)


def test_the_rate_depends_on_the_carrier() -> None:
    assert AccountSettings(carrier="returnpilot").requests_per_minute == 50
    assert AccountSettings(rate_per_minute=0).requests_per_minute == 0


def test_only_sqlite_migrates_itself(tmp_path: Path) -> None:
    postgres = load(environ={"RETURNS_WORKER_DATABASE__URL": "postgresql://u@h/db"}).database
    assert (Settings().database.migrates_itself, postgres.migrates_itself) == (True, False)
    assert (Settings().database.kind, postgres.kind) == ("sqlite", "postgresql")


def test_a_schema_may_be_named_on_postgresql_and_is_shown() -> None:
    environ = {"RETURNS_WORKER_DATABASE__URL": "postgresql://u@h/db", "RETURNS_WORKER_DATABASE__SCHEMA": "Returns-1"}
    settings = load(environ=environ)
    assert settings.database.schema == "Returns-1"
    assert tomllib.loads(show(settings))["database"]["schema"] == "Returns-1"
    assert load(environ=environ | {"RETURNS_WORKER_DATABASE__SCHEMA": ""}).database.schema is None


def test_only_a_transaction_mode_pooler_and_the_operator_keep_a_worker_from_being_woken() -> None:
    def can_wake(**environ: str) -> bool:
        prefix = "RETURNS_WORKER_DATABASE__"
        return load(environ={f"{prefix}{name}": value for name, value in environ.items()}).database.can_wake

    postgres = "postgresql://u@h/db"
    assert can_wake() and can_wake(URL=postgres) and can_wake(POOLER="true")  # which has no meaning on SQLite
    pooled = load(environ={"RETURNS_WORKER_DATABASE__URL": postgres, "RETURNS_WORKER_DATABASE__POOLER": "true"})
    assert "\n# wake: without effect behind a transaction-mode pooler\n" in show(pooled)
    assert not (can_wake(WAKE="false") or can_wake(URL=postgres, WAKE="false") or can_wake(URL=postgres, POOLER="true"))


def test_the_reference_file_gives_exactly_the_defaults() -> None:
    key_file = Path("/etc/returns-worker/izipack.key")
    defaults = Settings(accounts={"default": AccountSettings(api_key_file=key_file)})
    assert load(CONFIG / "worker.toml", {}) == defaults


def leaves(model: type[BaseModel], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk every setting with its place, an account's named `default`, a subscriber's `shop`, a token's `support`."""
    for name in model.model_fields:
        place = (*at, name)
        inner = annotation_at(model, (name,))
        if place == ("accounts",):
            yield from leaves(AccountSettings, ("accounts", "default"))
        elif place == ("news",):
            yield from leaves(NewsSettings, ("news", "shop"))
        elif place == ("http", "tokens"):
            yield from leaves(TokenSettings, (*place, "support"))
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, place)
        else:
            yield place, inner


def settings_named_in(text: str) -> set[str]:
    """Find table and key of every line that sets something, whether it is commented out or not."""
    named, table = set(), ""
    for line in text.splitlines():
        if header := re.match(r"(?:# )?\[([a-z_.]+)\]$", line):
            table = header[1]
            named.add(table)
        elif key := re.match(r"(?:# )?([a-z_]+) = ", line):
            named.add(f"{table}.{key[1]}")
    return named


def test_the_reference_file_mentions_every_setting() -> None:
    named = settings_named_in((CONFIG / "worker.toml").read_text())
    documented_together = {  # by the sentence above them
        f"accounts.default.polling.{name}" for name in PollingOverride.model_fields
    }
    missing = {
        ".".join(place)
        for place, _ in leaves(Settings)
        if not any(name == ".".join(place) or name.startswith(".".join(place) + ".") for name in named)
    }
    assert missing - documented_together == set()
    assert len(list(leaves(Settings))) > 40


def test_the_reference_file_states_each_default_in_words_a_test_can_read() -> None:
    """A commented line of an optional setting still shows a value of the right kind."""
    text = (CONFIG / "worker.toml").read_text()
    for line in re.findall(r"^# ([a-z_]+ = .+)$", text, re.MULTILINE):
        tomllib.loads(line)


def test_switching_on_every_commented_line_is_valid_configuration(tmp_path: Path) -> None:
    text = (CONFIG / "worker.toml").read_text()
    live = re.sub(r"^# (\[[a-z_.]+\]|[A-Za-z_]+ = .+)$", r"\1", text, flags=re.MULTILINE)
    file = tmp_path / "all.toml"
    # One table can't be opened twice or after its children, so keep TOML's order: the file is written in it.
    # Only PostgreSQL has schemas.
    file.write_text(live.replace('url = "sqlite:///returns.db"', 'url = "postgresql://u@h/returns"', 1))
    account = load(file, {}, carriers=CARRIERS).accounts["default"]
    assert account.status_map["Onderweg"] == "in_transit"
    assert account.receiver is not None and account.receiver["address"]["country"] == "NL"


def test_the_laptop_file_is_quick_and_asks_the_simulator() -> None:
    settings = load(CONFIG / "local.toml", {}, need_keys=True)
    account = settings.accounts["default"]
    assert (account.base_url, account.requests_per_minute) == ("http://127.0.0.1:9480", 0)
    assert settings.database.kind == "sqlite"
    for status in POLLED:
        assert settings.polling_for("default", status).cap <= timedelta(seconds=5)


def test_containers_are_told_from_plain_settings() -> None:
    assert is_container(annotation_at(Settings, ("accounts", "x", "label_hosts")))
    assert is_container(annotation_at(Settings, ("polling",)))
    assert not is_container(annotation_at(Settings, ("accounts", "x", "api_key")))
    assert annotation_at(Settings, ("accounts", "x", "nothing", "here")) is None


@pytest.mark.parametrize("name", ["first", "cap", "max_age"])
def test_the_contracts_cadence_survives_being_shown(name: str) -> None:
    assert format_duration(getattr(PollingSettings(), name)) in {"15m", "6h", "60d"}
