"""The demo's folder: database, labels, log, and the settings, so that one can go on from there by hand."""

import json
import tempfile
from pathlib import Path

from worker.demo.fates import made_up
from worker.settings import Settings, load
from worker.simulator import Simulator
from worker.usecases.not_done import WrongRequest

DATABASE = "returns.db"
LOG = "worker.log"
LABELS = "labels"
OWN = "my-first"
"""The reference of a return in a file of that name, to go on with by hand."""

_SETTINGS = "returns-worker.toml"
_TOML = """\
# Written by `returns-worker demo`. Never point it at a real carrier: it asks three times a second.
[database]
url = "sqlite:///returns.db"
[labels]
store = "file:labels"
[accounts.default]
carrier = "izipack"
base_url = "http://127.0.0.1:9480"      # where `returns-worker simulate` listens; the demo has a port of its own
api_key = "IZI-simulator"               # the simulator's own; not a secret
rate_per_minute = 0
# The simulator's words; AtDepot7 is left out on purpose.
status_map = { PickedUp = "in_transit", InTransit = "in_transit", Delivered = "delivered" }
[accounts.default.receiver]
name = "Webshop"
email = "returns@webshop.example"
address = { street = "Magazijnweg", house_number = "1", postal_code = "1234 AB", city = "Goes", country = "NL" }

[accounts.pilot]
carrier = "returnpilot"
base_url = "http://127.0.0.1:9480/api/v1"
api_key = "RP-simulator"                # the simulator's own too
rate_per_minute = 0

[polling]
first = "300ms"
cap = "300ms"
by_status.in_transit.first = "300ms"
[circuit]
first = "1s"
[retry]
first = "300ms"
cap = "1s"
"""


def make_folder(wanted: Path | None) -> Path:
    """A fresh folder, or `wanted`; raises `WrongRequest` where something in it would be overwritten, and OSError."""
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="returns-worker-demo-"))
    folder = wanted.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (DATABASE, _SETTINGS, LABELS, f"{OWN}.json"):
        if (folder / name).exists():
            raise WrongRequest(f"{folder / name} exists; the demo starts afresh: name another folder")
    return folder


def write_settings(folder: Path, carriers: Simulator) -> Settings:
    """Write the files to go on with; returns the settings of the demo itself: from any folder, and on free ports."""
    (folder / f"{OWN}.json").write_text(json.dumps({"reference": OWN, "payload": made_up(1)}), encoding="utf-8")
    file = folder / _SETTINGS
    file.write_text(_TOML, encoding="utf-8")
    here = {
        "RETURNS_WORKER_DATABASE__URL": f"sqlite:///{folder / DATABASE}",
        "RETURNS_WORKER_LABELS__STORE": (folder / LABELS).as_uri(),
        "RETURNS_WORKER_ACCOUNTS__DEFAULT__BASE_URL": carriers.url,
        "RETURNS_WORKER_ACCOUNTS__PILOT__BASE_URL": carriers.returnpilot_url,
        "RETURNS_WORKER_HTTP__LISTEN": "127.0.0.1:0",
        "RETURNS_WORKER_LOG__FORMAT": "json",
    }
    return load(file, here)
