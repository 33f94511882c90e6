"""`[news.NAME]`: every mistake has its line, all at once; and a webhook's secrets are taken up as keys are."""

import base64
from pathlib import Path

import pytest

from worker.settings import (
    ConfigurationError,
    KeyUnavailableError,
    NewsSettings,
    SecretSource,
    Settings,
    load,
    secret_source,
    show,
)

ONE, OTHER = bytes(range(24)), bytes(range(64))


def written(*keys: bytes) -> str:
    return "\n".join("whsec_" + base64.b64encode(key).decode() for key in keys)


def test_a_rotated_secret_is_taken_up_without_a_restart_and_the_last_good_one_stays(tmp_path: Path) -> None:
    file, now = tmp_path / "secret", [0.0]
    file.write_text(written(ONE))
    source = SecretSource("shop", None, file, None, lambda: now[0])
    assert source.current() == (ONE,)
    file.write_text(written(OTHER, ONE))
    now[0] += 2
    assert source.current() == (OTHER, ONE)
    file.write_text("whsec_" + "A" * 8)
    now[0] += 2
    assert source.current() == (OTHER, ONE)
    assert source.problem is not None
    assert "6 bytes" in source.problem and "AAAA" not in source.problem


def test_the_systemd_credential_of_a_webhook_is_found_by_its_name(tmp_path: Path) -> None:
    settings = Settings(news={"shop": NewsSettings(kind="webhook", url="https://example.org")})
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with pytest.raises(KeyUnavailableError, match=r"news\.shop\.secret"):
        secret_source(settings, "shop", environ).current()
    (tmp_path / "news.shop.secret").write_text(written(ONE))
    assert secret_source(settings, "shop", environ).current() == (ONE,)


ACCOUNT = "[accounts.default]\napi_key = 'x'\n"
WEBHOOK = "kind = 'webhook'\nurl = 'https://shop.example/hook'\n"


def problems(news: str, rest: str = "") -> list[str]:
    """What is said of `[news.shop]`, each line without where it is from."""
    Path("given.toml").write_text(f"{rest}{ACCOUNT}[news.shop]\n{news}")
    try:
        load(Path("given.toml"), {}, need_keys=True)
    except ConfigurationError as error:
        return [problem.partition(" [")[0] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("news", "said"),
    [
        ("events = ['state.done']", "news.shop.events.0: names no event"),
        ("events = ['*state']", "news.shop.events.0: names no event"),
        ("accounts = ['defaul']", "news.shop.accounts: no account is configured by that name: defaul"),
        ("keep = '0s'", "news.shop.keep: "),
        ("notify = true", "news.shop.notify: only PostgreSQL has NOTIFY"),
        ("url = 'https://shop.example'", "news.shop.url: has an effect on webhooks only"),
        ("timeout = '3s'", "news.shop.timeout: has an effect on webhooks only"),
        ("kind = 'webhook'\nsecret = 'SECRET'", "news.shop.url: a webhook needs one"),
        (f"{WEBHOOK}", "news.shop.secret: no secret: set secret, secret_file or the systemd credential"),
        (f"{WEBHOOK}secret_file = 'not-there'", "news.shop.secret_file: "),
        (f"{WEBHOOK}secret = 'SECRET'\nnotify = true", "news.shop.notify: has an effect on tables only"),
        (f"{WEBHOOK}secret = 'SECRET'\ntimeout = '25s'", "news.shop.timeout: 25s is too long: it must be less than"),
        (f"{WEBHOOK}secret = 'whsec_c2hvcnQ='", "news.shop.secret: holds 5 bytes; it must be 24 to 64"),
        (f"{WEBHOOK}secret = 'SECRET whsec_!'", "news.shop.secret: secret 2 of 2 is not base64"),
        (f"{WEBHOOK}secret = 'c2hvcnQ='", "news.shop.secret: must be whsec_ and base64 behind it"),
        ("kind = 'webhook'\nsecret = 'SECRET'\nurl = 'http://shop.example'", "news.shop.url: must be https"),
        ("kind = 'webhook'\nsecret = 'SECRET'\nurl = 'https://10.0.0.1/x'", "news.shop.url: 10.0.0.1 is not a public"),
        ("kind = 'webhook'\nsecret = 'SECRET'\nurl = 'https://2130706433/'", "news.shop.url: 2130706433 is not a"),
        ("kind = 'webhook'\nsecret = 'SECRET'\nurl = 'https://u:p@shop.example'", "news.shop.url: must hold no user"),
        ("kind = 'queue'", "news.shop.kind: "),
    ],
)
def test_a_subscriber_that_would_not_work_is_refused_with_what_to_do(news: str, said: str) -> None:
    (problem,) = problems(news.replace("SECRET", written(ONE)))
    assert problem.startswith(said)


def test_what_works_is_taken_and_no_secret_is_shown() -> None:
    private = f"kind = 'webhook'\nurl = 'http://10.0.0.1/x'\nprivate = true\nsecret = '{written(ONE)} {written(OTHER)}'"
    assert problems(private) == []
    shown = show(load(Path("given.toml"), {}))
    assert written(ONE) not in shown and written(OTHER) not in shown
    assert problems("events = ['state.*', 'label.stored']\naccounts = ['default']\nkeep = '3d'") == []
    assert problems("notify = true", "database.url = 'postgresql://h/d'\n") == []


def test_all_that_is_wrong_with_all_subscribers_is_said_at_once() -> None:
    found = problems("notify = true\naccounts = ['x']\n[news.hook]\nkind = 'webhook'\n[news.'Bad-Name']\n")
    assert sorted(problem.partition(":")[0] for problem in found) == [
        *("news.Bad-Name", "news.hook.secret", "news.hook.url", "news.shop.accounts", "news.shop.notify")
    ]


def test_several_bad_events_of_one_subscriber_hide_nothing_else_that_is_wrong() -> None:
    found = problems(
        "events = ['state.complete', 'label.ready', 'state.*', 'sta*us']\naccounts = ['nope']\n"
        "kind = 'webhook'\nurl = 'http://shop.example'\ntimeout = '60s'\n[news.hook]\nkind = 'webhook'"
    )
    assert sorted(problem.partition(":")[0] for problem in found) == [
        *("news.hook.secret", "news.hook.url", "news.shop.accounts"),
        *("news.shop.events.0", "news.shop.events.1", "news.shop.events.3"),
        *("news.shop.secret", "news.shop.timeout", "news.shop.url"),
    ]


@pytest.mark.parametrize("name", ["Bad-Name", "a" * 64])
def test_a_name_that_a_subscriber_cannot_have_is_refused_with_those_it_can(name: str) -> None:
    (problem,) = problems(f"[news.{name}]")
    assert problem == f"news.{name}: a subscriber's name is made of a-z, 0-9 and _ only, 63 characters at most"


@pytest.mark.parametrize(
    ("event", "meant"), [("state.complete", "state.completed"), ("Label.Stored", "label.stored"), ("xyz", None)]
)
def test_an_event_that_is_misspelt_is_refused_with_the_one_that_was_meant(event: str, meant: str | None) -> None:
    (problem,) = problems(f"events = ['{event}']")
    assert ("did you mean" in problem) == (meant is not None)
    assert problem.startswith("news.shop.events.0: names no event" + (f"; did you mean {meant}?" if meant else ""))
