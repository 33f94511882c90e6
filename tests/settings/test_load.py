"""File and environment become settings; or one error that names every problem."""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.carriers import registry
from worker.settings import ConfigurationError, Settings, load, show

CARRIERS = {name: replace(kind, receiver_problems=lambda _: ()) for name, kind in registry.CARRIERS.items()}


def from_text(text: str, environ: Mapping[str, str] | None = None, **needs: Any) -> Settings:
    file = Path("given.toml")
    file.write_text(text)
    return load(file, environ or {}, **needs)


def problems(text: str = "", environ: Mapping[str, str] | None = None, **needs: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as raised:
        from_text(text, environ, **needs)
    return raised.value.problems


def paths(found: tuple[str, ...]) -> list[str]:
    return [problem.partition(": ")[0] for problem in found]


# --- where it comes from


def test_without_file_and_environment_the_defaults_hold() -> None:
    assert load(environ={}) == Settings()


def test_the_named_file_comes_before_the_variable_and_that_before_the_working_directory() -> None:
    for name in ("named", "variable", "returns-worker"):
        Path(f"{name}.toml").write_text(f'[labels]\nstore = "file:{name}"')
    environ = {"RETURNS_WORKER_CONFIG": "variable.toml"}
    assert load(Path("named.toml"), environ).labels.store == "file:named"
    assert load(environ=environ).labels.store == "file:variable"
    assert load(environ={}).labels.store == "file:returns-worker"


def test_the_environment_wins_over_the_file() -> None:
    settings = from_text(
        '[accounts.default]\ncarrier = "returnpilot"\napi_key = "file"\nmax_in_flight = 3\nlabel_hosts = ["a"]',
        {
            "RETURNS_WORKER_ACCOUNTS__DEFAULT__API_KEY": "environment",
            "RETURNS_WORKER_ACCOUNTS__DEFAULT__LABEL_HOSTS": '["b", "c"]',
            "RETURNS_WORKER_ACCOUNTS__OTHER__CARRIER": "returnpilot",
            "RETURNS_WORKER_WORKER__LEASE": "120",
            "RETURNS_WORKER_DATABASE__AUTO_MIGRATE": "false",
            "RETURNS_WORKER_HTTP__LISTEN": "[::1]:0",
        },
    )
    account = settings.accounts["default"]
    assert account.api_key is not None and account.api_key.get_secret_value() == "environment"
    assert (account.max_in_flight, account.label_hosts) == (3, ("b", "c"))
    assert settings.accounts["other"].carrier == "returnpilot"
    assert settings.worker.lease == timedelta(minutes=2)
    assert settings.database.migrates_itself is False
    assert (settings.http.host, settings.http.port) == ("::1", 0)


def test_two_spellings_of_a_word_in_one_variable_are_told_apart_from_an_override_of_the_files() -> None:
    words = '{"Strasse": "failed", "STRAẞE": "delivered"}'
    with pytest.raises(ConfigurationError, match=r"'Strasse' and 'STRAẞE' are the same word"):
        from_text(
            ACCOUNT + 'status_map = { "Straße" = "failed" }', {"RETURNS_WORKER_ACCOUNTS__DEFAULT__STATUS_MAP": words}
        )


def test_a_table_as_json_is_merged_and_a_single_key_wins_over_it() -> None:
    settings = from_text(
        '[accounts.default.status_map]\nInTransit = "in_transit"\nSorted = "in_transit"\n"Straße" = "delivered"',
        {
            "RETURNS_WORKER_ACCOUNTS": '{"default": {"timeout": "9s", "max_in_flight": 2}}',
            "RETURNS_WORKER_ACCOUNTS__DEFAULT__TIMEOUT": "7s",
            "RETURNS_WORKER_ACCOUNTS__DEFAULT__STATUS_MAP__IN_TRANSIT": "unknown",
            "RETURNS_WORKER_ACCOUNTS__DEFAULT__STATUS_MAP": '{"STRAẞE": "failed"}',
            "RETURNS_WORKER_ACCOUNTS__DEFAULT__RECEIVER__ADDRESS": '{"country": "NL"}',
            "RETURNS_WORKER_ACCOUNTS__DEFAULT__RECEIVER__NAME": "Webshop",
        },
    )
    account = settings.accounts["default"]
    assert (account.timeout, account.max_in_flight) == (timedelta(seconds=7), 2)
    assert account.status_map == {"Sorted": "in_transit", "in_transit": "unknown", "STRAẞE": "failed"}
    assert account.receiver == {"address": {"country": "NL"}, "name": "Webshop"}


def test_variables_of_tests_and_other_programs_are_left_alone() -> None:
    assert load(environ={"RETURNS_WORKER_TEST_POSTGRES": "x", "RETURNS_WORKERS": "x", "PATH": "x"}) == Settings()


def test_the_database_url_may_be_in_a_file_and_the_value_wins() -> None:
    Path("url").write_text("postgres://u@h/db\n")
    text = '[database]\nurl_file = "url"'
    assert from_text(text).database.url == "postgresql://u@h/db"
    assert from_text(text, {"RETURNS_WORKER_DATABASE__URL": "sqlite:///x.db"}).database.url == "sqlite:///x.db"


def test_an_empty_variable_unsets_an_optional_path() -> None:
    account = from_text("", {"RETURNS_WORKER_ACCOUNTS__DEFAULT__CA_FILE": ""}).accounts["default"]
    assert account.ca_file is None


# --- what is refused

ACCOUNT = "[accounts.default]\n"


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("databse = 1", "databse", "did you mean database?"),
        ('[database]\nurl = "mysql://h/db"', "database.url", "postgresql://"),
        ('[database]\nurl_file = "absent"', "database.url_file", "cannot be read"),
        ('[database]\nauto_migrate = "perhaps"', "database.auto_migrate", "true or false"),
        ("[database]\npooler = 2", "database.pooler", "true or false"),
        ('[database]\nschema = "returns"', "database.schema", "only PostgreSQL has schemas"),
        ('[database]\nschema = "pg_returns"', "database.schema", "PostgreSQL's own"),
        ('[database]\nschema = "information_schema"', "database.schema", "PostgreSQL's own"),
        ('[database]\nschema = "$user"', "database.schema", "must begin with a letter or _"),
        ("[database]\nschema = 'a\"; DROP'", "database.schema", "no quotes"),
        ('[database]\nschema = "returns "', "database.schema", "letters, digits, spaces"),
        (f'[database]\nschema = "{"ü" * 32}"', "database.schema", "at most 63 bytes"),
        ("database = 3", "database", "must be a table"),
        ("accounts = 3", "accounts", "must be a table"),
        ("[accounts]\ncarrier = 'izipack'", "accounts.carrier", "its settings stand below [accounts.NAME]"),
        ("[news]\nkind = 'table'", "news.kind", "its settings stand below [news.NAME]"),
        ("[http.tokens]\nmay = 'look'", "http.tokens.may", "its settings stand below [http.tokens.NAME]"),
        ("[accounts.Shop-1]", "accounts.Shop-1", "a-z, 0-9 and _"),
        ('[accounts."a\\n"]', 'accounts."a\\n"', "a-z, 0-9 and _"),
        (ACCOUNT + 'carier = "izipack"', "accounts.default.carier", "did you mean carrier?"),
        (ACCOUNT + 'carrier = "dhl"', "accounts.default.carrier", "izipack, returnpilot"),
        (ACCOUNT + 'base_url = "https://h?x=1"', "accounts.default.base_url", "no query"),
        (ACCOUNT + 'api_key = ""', "accounts.default.api_key", "is empty"),
        (ACCOUNT + "api_key = 1", "accounts.default.api_key", "must be text"),
        (ACCOUNT + "api_key_file = 1", "accounts.default.api_key_file", "must be a path"),
        (ACCOUNT + 'ca_file = "a\\u0000"', "accounts.default.ca_file", "NUL"),
        (ACCOUNT + "rate_per_minute = -1", "accounts.default.rate_per_minute", "at least 0"),
        (ACCOUNT + "rate_per_minute = true", "accounts.default.rate_per_minute", "must be a number"),
        (ACCOUNT + "max_in_flight = 0", "accounts.default.max_in_flight", "at least 1"),
        (ACCOUNT + "max_in_flight = 1001", "accounts.default.max_in_flight", "at most 1000"),
        (ACCOUNT + "max_in_flight = 1.5", "accounts.default.max_in_flight", "whole number"),
        (ACCOUNT + 'timeout = "20x"', "accounts.default.timeout", "90s"),
        (ACCOUNT + "timeout = 0", "accounts.default.timeout", "more than zero"),
        (ACCOUNT + 'proxy = "proxy:3128"', "accounts.default.proxy", "http://"),
        (ACCOUNT + 'label_hosts = "h"', "accounts.default.label_hosts", "must be a list"),
        (ACCOUNT + 'label_hosts = ["h", "https://h"]', "accounts.default.label_hosts.1", "host name"),
        (ACCOUNT + "receiver = 5", "accounts.default.receiver", "must be a table"),
        (ACCOUNT + "receiver = { since = 2024-01-01 }", "accounts.default.receiver.since", "is not known here"),
        (ACCOUNT + "receiver = { name = 2024-01-01 }", "accounts.default.receiver.name", "must be text"),
        (ACCOUNT + 'receiver = { address = "Dam 1" }', "accounts.default.receiver.address", "must be an object"),
        (
            ACCOUNT + 'receiver.address.housenumber = "3"',
            "accounts.default.receiver.address.housenumber",
            "did you mean house_number",
        ),
        (
            ACCOUNT + 'receiver.address.country = "Netherlands"',
            "accounts.default.receiver.address.country",
            "alpha-2 code such as NL",
        ),
        (ACCOUNT + 'receiver."house number" = "3"', 'accounts.default.receiver."house number"', "is not known here"),
        (ACCOUNT + 'receiver."straße" = "3"', 'accounts.default.receiver."straße"', "is not known here"),
        (ACCOUNT + 'status_map = { X = "expired" }', "accounts.default.status_map.X", "delivered"),
        (ACCOUNT + 'status_map = { "" = "failed" }', 'accounts.default.status_map.""', "empty"),
        (
            ACCOUNT + 'status_map = { "In Transit" = "in_transit", in_transit = "unknown" }',
            "accounts.default.status_map",
            "same word",
        ),
        (
            ACCOUNT + 'status_map = { "Straße" = "in_transit", STRASSE = "unknown" }',
            "accounts.default.status_map",
            "'Straße' and 'STRASSE'",
        ),
        (
            ACCOUNT + 'status_map = { Teslim = "in_transit", "TESL\u200bİM" = "delivered" }',
            "accounts.default.status_map",
            "'Teslim' and 'TESL\\u200bİM'",
        ),
        (ACCOUNT + "polling = { frist = 1 }", "accounts.default.polling.frist", "did you mean first?"),
        (
            ACCOUNT + "polling = { first = 60, cap = 30 }",
            "accounts.default.polling.cap",
            "30s is less than first, 1m",
        ),
        (ACCOUNT + 'label_pages = "all"', "accounts.default.label_pages", "must be one of 'documented', 'any'"),
        (ACCOUNT + "label_pages = 2", "accounts.default.label_pages", "must be one of 'documented', 'any'"),
        (ACCOUNT + "reject_past_pickup = 2", "accounts.default.reject_past_pickup", "true or false"),
        ("polling = { first = 0 }", "polling.first", "more than zero"),
        ("polling = { factor = 0.9 }", "polling.factor", "at least 1"),
        ("polling = { factor = nan }", "polling.factor", ""),
        ("polling = { factor = inf }", "polling.factor", "finite"),
        ("polling = { jitter = 1 }", "polling.jitter", "less than 1"),
        ('polling = { max_age = "11000d" }', "polling.max_age", "ten years"),
        ('polling = { cap = "1m" }', "polling.cap", "less than first"),
        ("[polling.by_status.delivered]", "polling.by_status.delivered", "pre_transit"),
        ('[polling.by_status.in_transit]\nfirst = "7h"', "polling.by_status.in_transit.cap", "7h"),
        ('retry = { cap = "1s" }', "retry.cap", "less than first, 2s"),
        ("retry = { max_attempts = 0 }", "retry.max_attempts", "at least 1"),
        ('worker = { tick = "0s" }', "worker.tick", "more than zero"),
        ("worker = { lease = -1 }", "worker.lease", "negative"),
        (ACCOUNT + 'timeout = "24s"\n[worker]\nlease = "28s"', "worker.lease", "at least 29s"),
        (ACCOUNT + 'timeout = "25s"', "worker.grace", "accounts.default.timeout (25s)"),
        ('labels = { store = "ftp://h" }', "labels.store", "s3://"),
        ("labels = { max_bytes = 0 }", "labels.max_bytes", "at least 1"),
        ('http = { listen = "9464" }', "http.listen", "HOST:PORT"),
        ('log = { format = "xml" }', "log.format", "console"),
        ('log = { level = "loud" }', "log.level", "debug"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed_and_its_file(text: str, path: str, says: str) -> None:
    found = problems(text)
    assert paths(found) == [path]
    assert says in found[0]


def test_a_lease_of_exactly_the_timeout_and_its_margin_is_enough() -> None:
    for timeout, lease in (("4s", "5s"), ("20s", "25s"), ("24s", "29s")):
        assert from_text(f'{ACCOUNT}timeout = "{timeout}"\n[worker]\nlease = "{lease}"')


@pytest.mark.parametrize("setting", ["worker.lease", "circuit.cap"])
def test_what_must_end_within_an_hour_is_not_configured_for_longer(setting: str) -> None:
    table, key = setting.split(".")
    (problem,) = problems(f'[{table}]\n{key} = "61m"')
    assert setting in problem and "must not be more than 1h" in problem
    assert getattr(getattr(from_text(f'[{table}]\n{key} = "1h"'), table), key) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("carrier", "setting", "owner"),
    [
        ("returnpilot", 'receiver = { name = "Webshop" }', "izipack"),
        ("returnpilot", "receiver = {}", "izipack"),
        ("returnpilot", "reject_past_pickup = true", "izipack"),
        ("izipack", 'label_hosts = ["labels.internal"]', "returnpilot"),
        ("izipack", 'link_grace = "2d"', "returnpilot"),
    ],
)
def test_a_setting_of_another_carrier_is_refused_and_not_silently_without_effect(
    carrier: str, setting: str, owner: str
) -> None:
    key = setting.partition(" ")[0]
    (found,) = problems(f'{ACCOUNT}carrier = "{carrier}"\n{setting}', carriers=CARRIERS)
    assert found == (
        f"accounts.default.{key}: has an effect at {owner} only, and this account's carrier is {carrier}: remove it"
        " [given.toml]"
    )
    assert from_text(f'{ACCOUNT}carrier = "{owner}"\n{setting}', carriers=CARRIERS)


def test_a_setting_of_another_carrier_is_refused_wherever_it_comes_from() -> None:
    found = problems(
        '[accounts.a]\n[accounts.b]\ncarrier = "returnpilot"\n[accounts.c]\ncarrier = "dhl"\nlink_grace = "2d"',
        {
            "RETURNS_WORKER_ACCOUNTS__A__LABEL_HOSTS": '["h"]',
            "RETURNS_WORKER_ACCOUNTS__B__RECEIVER__NAME": "Webshop",
            "RETURNS_WORKER_ACCOUNTS__B__LABEL_HOSTS": '["h"]',
        },
        carriers=CARRIERS,
    )
    assert [problem.partition(": ")[0] for problem in found] == [
        *("accounts.c.carrier", "accounts.a.label_hosts", "accounts.b.receiver"),
    ]
    assert "RETURNS_WORKER_ACCOUNTS__B__RECEIVER__NAME" in found[2]


def test_what_says_no_more_than_the_default_harms_at_no_carrier() -> None:
    """The settings in force are shown with all defaults, and load again."""
    text = ACCOUNT + 'carrier = "{}"\nlabel_hosts = []\nlink_grace = "24h"\nreject_past_pickup = false'
    for carrier in ("izipack", "returnpilot"):
        settings = from_text(text.format(carrier), carriers=CARRIERS)
        assert from_text(show(settings), carriers=CARRIERS).accounts["default"].carrier == carrier


def test_all_problems_come_at_once_fields_and_what_they_must_be_to_each_other() -> None:
    found = problems(
        '[accounts.default]\ncarrier = "dhl"\ntimeout = "30s"\n[polling]\njitter = 2\ncap = "1m"\n[worker]\ntick = 0',
        {"RETURNS_WORKER_LOG__LEVL": "info", "RETURNS_WORKER_RETRY__CAP": "1s"},
        need_keys=True,
    )
    assert sorted(paths(found)) == [
        "accounts.default.api_key",
        "accounts.default.carrier",
        "log.levl",
        "polling.cap",
        "polling.jitter",
        "retry.cap",
        "worker.grace",
        "worker.tick",
    ]
    assert all(problem in str(ConfigurationError(found)) for problem in found)


def test_what_depends_on_a_bad_setting_is_not_reported_on_top_of_it() -> None:
    assert paths(problems('[accounts.default]\ntimeout = "3x"\n[worker]\nlease = "4s"\ngrace = "4s"')) == [
        "accounts.default.timeout"
    ]


def test_each_problem_names_its_source() -> None:
    found = problems(
        "[polling]\nfactor = 0", {"RETURNS_WORKER_RETRY__FACTOR": "0", "RETURNS_WORKER_WROKER__TICK": "1s"}
    )
    assert [problem[problem.index(" [") :] for problem in sorted(found)] == [
        " [given.toml]",
        " [environment variable RETURNS_WORKER_RETRY__FACTOR]",
        " [environment variable RETURNS_WORKER_WROKER__TICK]",
    ]


def test_a_bad_item_of_a_list_names_the_file_that_the_list_is_in() -> None:
    (problem,) = problems("[news.shop]\nevents = ['state.*', 'no.event']")
    assert problem.startswith("news.shop.events.1: ") and problem.endswith(" [given.toml]")


def test_an_account_that_only_inherits_a_bad_cadence_is_not_reported_again() -> None:
    found = problems('[accounts.a]\n[accounts.b.polling]\ncap = "2m"\n[polling]\ncap = "1m"')
    assert paths(found) == ["polling.cap", "accounts.b.polling.cap"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[database]\nurl = \n", "line 2"),
        (b"a = 1\n\xff\xfe", "line 2"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
        (b"a = " + b"[" * 5000, "not valid TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_one_problem_with_its_line(content: bytes, says: str) -> None:
    Path("bad.toml").write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        load(Path("bad.toml"), {}, need_accounts=True, need_keys=True)
    (problem,) = raised.value.problems
    assert problem.startswith("bad.toml: ") and says in problem


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_file_that_cannot_be_read_is_a_problem_beside_those_of_the_environment(name: str) -> None:
    environ = {"RETURNS_WORKER_CONFIG": name, "RETURNS_WORKER_POLLING__FIRST": "x"}
    with pytest.raises(ConfigurationError) as raised:
        load(environ=environ, need_accounts=True)
    assert paths(raised.value.problems) == [name, "polling.first"]


def test_a_list_that_is_not_json_is_a_problem() -> None:
    found = problems("", {"RETURNS_WORKER_ACCOUNTS__DEFAULT__LABEL_HOSTS": "a,b", "RETURNS_WORKER_DATABASE": "x"})
    assert sorted(paths(found)) == ["accounts.default.label_hosts", "database"]


def test_every_mistake_in_a_receiver_is_named_by_the_variable_it_came_from() -> None:
    """As a payload's are, whatever the carrier: it is read with each payload that names none."""
    found = problems(
        '[accounts.a.receiver]\nname = "Web\\nshop"\n[accounts.b]\ncarrier = "dhl"\nreceiver.adress = {}',
        {"RETURNS_WORKER_ACCOUNTS__A__RECEIVER__ADDRESS__COUNTRY": "UK"},
    )
    assert sorted(found) == [
        "accounts.a.receiver.address.country: must be an ISO 3166-1 alpha-2 code: GB is meant, not UK"
        " [environment variable RETURNS_WORKER_ACCOUNTS__A__RECEIVER__ADDRESS__COUNTRY]",
        "accounts.a.receiver.name: must be one line, without line breaks [given.toml]",
        "accounts.b.carrier: must be one of izipack, returnpilot [given.toml]",
        "accounts.b.receiver.adress: is not known here; did you mean address? [given.toml]",
    ]


# --- what a command needs


def test_what_a_carrier_asks_of_a_receiver_is_said_with_everything_else_that_is_wrong() -> None:
    def asks(receiver: Mapping[str, Any]) -> list[str]:
        return [] if "email" in receiver else ["receiver.email: is required"]

    carriers = {"izipack": replace(CARRIERS["izipack"], receiver_problems=asks)}
    text = '[accounts.a.receiver]\nname = "Webshop"\n[polling]\njitter = 2'
    assert from_text('[accounts.a.receiver]\nname = "Webshop"')
    assert from_text('[accounts.a.receiver]\nemail = "a@b"', carriers=carriers)
    assert sorted(problems(text, carriers=carriers)) == [
        "accounts.a.receiver.email: is required",
        "polling.jitter: must be less than 1 [given.toml]",
    ]


def test_a_missing_account_is_a_problem_only_where_one_is_needed() -> None:
    assert from_text("").accounts == {}
    assert paths(problems("", need_accounts=True)) == ["accounts"]


def test_a_missing_key_is_a_problem_only_where_one_is_needed(tmp_path: Path) -> None:
    text = '[accounts.a]\n[accounts.b]\napi_key_file = "absent"\n[accounts.c]\napi_key = "k"\n'
    assert from_text(text, need_accounts=True)
    assert paths(problems(text, need_keys=True)) == ["accounts.a.api_key", "accounts.b.api_key_file"]
    Path("a.api_key").write_text("k")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert paths(problems(text, environ, need_keys=True)) == ["accounts.b.api_key_file"]


def test_a_missing_ca_file_is_a_problem_where_accounts_are_used() -> None:
    text = '[accounts.a]\nca_file = "absent.pem"'
    assert from_text(text)
    assert paths(problems(text, need_accounts=True)) == ["accounts.a.ca_file"]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError):
        Settings().worker.lease = timedelta(seconds=1)  # type: ignore[misc]


def test_an_sqlite_that_is_too_old_is_refused_before_anything_starts_and_postgresql_does_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    (found,) = problems()
    assert found.startswith("database.url: this Python comes with SQLite 3.34.1, which knows no RETURNING: 3.35.0 or")
    assert from_text('[database]\nurl = "postgresql://db.example/shop"').database.kind == "postgresql"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    assert from_text("") == Settings()
