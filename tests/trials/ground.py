"""What a container of the trial stands on: its configuration, its key, its state folder, and the shop that inserts."""

import json
import os
import shutil
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

UID = 10001
KEY = "IZI-simulator"
GRACE = 10  # seconds; worker.grace below
CONFIG = """
[database]
{database}
wait = "2s"
[accounts.default]
base_url = "http://127.0.0.1:{simulator}"
api_key_file = "/etc/returns-worker/izipack.key"
rate_per_minute = 0
timeout = "5s"
[accounts.default.receiver]
name = "Webshop"
[accounts.default.receiver.address]
street = "Dokter de Grootlaan"
house_number = "3"
postal_code = "2071 TG"
city = "Santpoort-Noord"
country = "NL"
[accounts.default.status_map]
PickedUp = "in_transit"
InTransit = "in_transit"
Delivered = "delivered"
[polling]
first = "500ms"
factor = 1.0
cap = "500ms"
by_status.in_transit.first = "500ms"
[worker]
tick = "500ms"
lease = "15s"
grace = "{grace}s"
gauges = "500ms"
"""
PAYLOAD = {
    "customer": {
        "name": "Sprookjeswonderland",
        "email": "info@izipack.nl",
        "phone": "0612345678",
        "address": {
            "street": "Kooizandweg",
            "house_number": "9",
            "postal_code": "1601 LK",
            "city": "Enkhuizen",
            "country": "NL",
        },
    },
    "packages": [{"height": 240, "width": 40, "depth": 40, "weight": 5000, "description": "package 1"}],
    "pickup_date": "2023-06-04",
    "description": "Webshop return",
}


class Failed(Exception):
    """A check that did not hold; the message says what was seen instead."""


def require(condition: bool, seen: object) -> None:
    """Fail with what was seen, unless the condition holds."""
    if not condition:
        raise Failed(str(seen))


def until(condition: Callable[[], bool], seconds: float, explain: Callable[[], str]) -> None:
    """Look again and again, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:g} s: {explain()[-1500:]}")
        time.sleep(0.1)


class Ground:
    """Two folders of the container's user, and free ports, since containers share this machine's network."""

    def __init__(self, folder: Path) -> None:
        self.simulator, self.port, self.second_port = _free_ports(3)
        self.state = _owned_folder(folder / "state")
        self.conf = _owned_folder(folder / "conf")
        self.write_key(KEY)
        self.write_config('url = "sqlite:////var/lib/returns-worker/returns.db"')

    def write_file(self, name: str, text: str) -> None:
        """Put a file in its place at once, as a mounted secret is replaced; only the container's user can read it."""
        file = self.conf / f".{name}"
        file.write_text(text)
        file.chmod(0o400)
        os.chown(file, UID, UID)
        file.rename(self.conf / name)

    def write_key(self, key: str) -> None:
        """The carrier's key."""
        self.write_file("izipack.key", key + "\n")

    def write_config(self, database: str) -> None:
        """The settings, with this line about the database."""
        self.write_file("worker.toml", CONFIG.format(database=database, simulator=self.simulator, grace=GRACE))

    def sql(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """As the shop, from outside the container."""
        with closing(sqlite3.connect(self.state / "returns.db", timeout=5)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def insert(self, reference: str) -> None:
        """One return."""
        self.sql("INSERT INTO return_order (reference, payload) VALUES (?, ?)", reference, json.dumps(PAYLOAD))

    def row(self, reference: str) -> tuple[str, str | None]:
        """State and tracking status."""
        found = self.sql("SELECT state, tracking_status FROM return_order WHERE reference = ?", reference)
        return found[0][0], found[0][1]

    def get(self, path: str, port: int = 0) -> tuple[int, str]:
        """Status and text of a page of the worker; 0 when nobody answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{port or self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def series(self, name: str, port: int = 0) -> str:
        """The value of the series that is spelled exactly like this."""
        lines = self.get("/metrics", port)[1].splitlines()
        return next((line.rsplit(" ", 1)[1] for line in lines if line.rsplit(" ", 1)[0] == name), "no such series")


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _owned_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    os.chown(folder, UID, UID)
    return folder
