"""The demo's folder: database, labels, log, and the settings, so that one can go on from there by hand."""

import tempfile
from pathlib import Path

from worker.cli.talk import Exit, fail
from worker.settings import Settings, load

DATABASE = "returns.db"
LOG = "worker.log"
LABELS = "labels"
_SETTINGS = "returns-worker.toml"

_TOML = """\
# Written by `returns-worker demo`. To go on with it, in this folder: `returns-worker simulate --rate-limit 0` in one
# terminal, `returns-worker run` in another. Never point it at a real carrier: it asks twice a second.

[database]
url = "sqlite:///returns.db"

[accounts.default]
carrier = "izipack"
base_url = "http://127.0.0.1:9480"      # where `returns-worker simulate` listens; the demo has a port of its own
api_key = "IZI-simulator"               # the simulator's own; not a secret
rate_per_minute = 0
timeout = "5s"

[accounts.default.receiver]
name = "Webshop"
email = "returns@webshop.example"
phone = "0612345678"
[accounts.default.receiver.address]
street = "Magazijnweg"
house_number = "1"
postal_code = "1234 AB"
city = "Voorbeeldstad"
country = "NL"

[accounts.pilot]
carrier = "returnpilot"
base_url = "http://127.0.0.1:9480/api/v1"
api_key = "RP-simulator"                # the simulator's own too
rate_per_minute = 1500
timeout = "5s"

[accounts.default.status_map]           # the simulator's words; AtDepot7 is left out on purpose
PickedUp = "in_transit"
InTransit = "in_transit"
Delivered = "delivered"
Cancelled = "cancelled"

[polling]
first = "400ms"
factor = 1.0
cap = "400ms"
max_age = "1h"
[polling.by_status.in_transit]
first = "400ms"

[retry]
first = "300ms"
cap = "1s"

[worker]
tick = "200ms"
lease = "10s"
grace = "8s"
gauges = "1s"

[labels]
store = "file:labels"
"""


def make_folder(wanted: Path | None) -> Path:
    """A fresh folder, or `wanted` when nothing in it would be overwritten."""
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="returns-worker-demo-"))
    folder = wanted.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [name for name in (DATABASE, _SETTINGS, LABELS) if (folder / name).exists()]
        if not taken:
            (folder / LOG).touch()
    except OSError as error:
        fail(f"error: {error.filename}: {error.strerror}; name a folder that can be written to")
    if taken:
        fail(f"error: {folder / taken[0]} exists; the demo starts afresh: name another folder", Exit.USAGE)
    return folder


def write_settings(folder: Path, izipack_url: str, returnpilot_url: str) -> Settings:
    """Write the settings into the folder; returns them as the demo itself uses them: from anywhere, on free ports."""
    file = folder / _SETTINGS
    file.write_text(_TOML, encoding="utf-8")
    here = {
        "RETURNS_WORKER_DATABASE__URL": f"sqlite:///{folder / DATABASE}",
        "RETURNS_WORKER_LABELS__STORE": (folder / LABELS).as_uri(),
        "RETURNS_WORKER_ACCOUNTS__DEFAULT__BASE_URL": izipack_url,
        "RETURNS_WORKER_ACCOUNTS__PILOT__BASE_URL": returnpilot_url,
        "RETURNS_WORKER_HTTP__LISTEN": "127.0.0.1:0",
        "RETURNS_WORKER_LOG__FORMAT": "json",
    }
    return load(file, here)
