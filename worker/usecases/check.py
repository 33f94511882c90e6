"""Looks at everything that a worker needs, before it matters."""

from worker.carriers.port import CarrierError
from worker.from_settings import Kinship, open_account
from worker.labels import LabelStoreError, LabelStoreUnusable, open_label_store
from worker.runtime.clock import lease_clock
from worker.settings import ConfigurationError, KeyUnavailableError, Settings, key_source
from worker.usecases.check_database import check_database
from worker.usecases.findings import Finding, Findings, Verdict
from worker.usecases.plan import overloads


async def find_faults(settings: Settings, *, online: bool) -> list[Finding]:
    """What is right and wrong with the database, the label store and each account; `online`: ask each carrier too."""
    findings = Findings()
    backlog = await check_database(settings, findings)
    await _check_label_store(settings, findings)
    for name in settings.accounts:
        await _check_account(settings, name, online, findings)
    findings.good(_who_may_see_pages(settings))
    keys = {name: key_source(settings, name) for name in settings.accounts}
    for line in Kinship(settings, keys, lease_clock).warnings():
        findings.warn(f"accounts {line}")
    for line in overloads(settings, backlog):
        findings.warn(line)
    return findings


def _who_may_see_pages(settings: Settings) -> str:
    http = settings.http
    if http.tokens:
        said = ", ".join(f"{name} ({token.may})" for name, token in http.tokens.items())
        at = f", at {http.public_url} too" if http.public_url else ""
        return f"pages: for {said}{at}"
    return f"pages: {'whoever is on this machine may look' if http.has_pages else 'none is shown without a token'}"


async def _check_label_store(settings: Settings, findings: Findings) -> None:
    try:
        there = await open_label_store(settings.labels.store).check(make=False)
    except LabelStoreUnusable as error:
        findings.bad(f"labels: {error}", Verdict.BAD_CONFIGURATION)
    except LabelStoreError as error:
        findings.bad(f"labels: {error}")
    else:
        findings.good(f"labels: the store {'can be written' if there else 'is not there yet, and can be made'}")


async def _check_account(settings: Settings, name: str, online: bool, findings: Findings) -> None:
    key = key_source(settings, name)
    try:
        carrier = open_account(settings, name, key.current, lambda operation, outcome, seconds: None)
        key.current()
    except (ConfigurationError, KeyUnavailableError) as error:
        findings.bad(f"account {name}: {error}", Verdict.BAD_CONFIGURATION)
        return
    for warning in carrier.warnings:
        findings.warn(f"account {name}: {warning}")
    base_url = settings.accounts[name].base_url or ""
    if base_url.startswith("http://") and not base_url.startswith(("http://127.", "http://localhost", "http://[::1]")):
        findings.warn(f"account {name}: base_url is not https: the key travels in the clear")
    if online:
        try:
            await carrier.ping()
        except CarrierError as error:
            findings.bad(f"account {name}: {error.message[:200]}")
        else:
            findings.good(f"account {name}: the carrier answers and accepts the key")
    else:
        findings.good(f"account {name}: configured")
    await carrier.close()
