"""The instances of the booted system: their settings, keys and drop-ins, and what systemd and SQLite say about them."""

import json
import re
import urllib.request

from booted import CHECKOUT, Machine, free_port, require, until

KEY = "IZI-the-right-key"
BY_INSTANCE = """
[database]
url = "{url}"
auto_migrate = true
wait = "{wait}"
[accounts.default]
base_url = "{carrier}"
rate_per_minute = 0
{more}
[accounts.default.receiver]
name = "Webshop"
address.street = "Dokter de Grootlaan"
address.house_number = "3"
address.postal_code = "2071 TG"
address.city = "Santpoort-Noord"
address.country = "NL"
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
gauges = "1s"
[http]
listen = "127.0.0.1:0"
"""


class Instances:
    """Makes instances and looks at them; `carrier` and `postgres` are the ports of what they talk to."""

    def __init__(self, machine: Machine) -> None:
        """`machine` is booted."""
        self._machine = machine
        self.carrier, self.postgres = free_port(), free_port()

    def write_machine(self) -> None:
        """What every check builds on: the carrier, drop-ins, PostgreSQL's port, a shop's user, settings."""
        machine = self._machine
        machine.write(
            "/etc/systemd/system/carrier.service",
            "[Service]\nDynamicUser=yes\nExecStart=/opt/returns-worker/bin/returns-worker simulate"
            f" --port {self.carrier} --stage-seconds 0.5 --api-key {KEY}\n",
        )
        self.drop_in("shop", "StateDirectoryMode=2770")
        self.drop_in("away", "RestartSec=200ms", "WatchdogSec=3s")
        self.drop_in("patient", "TimeoutStartSec=8s", "RestartPreventExitStatus=69")
        machine.write("/etc/postgresql/15/main/conf.d/port.conf", f"port = {self.postgres}\n")
        machine.write("/etc/postgresql/15/main/pg_hba.conf", "local all all peer\nhost all all 127.0.0.1/32 trust\n")
        machine.run("useradd", "--groups", "returns-worker", "webshop")
        owner, folder = ("-o", "returns-worker", "-g", "returns-worker"), "/var/lib/returns-worker/shop"
        machine.run("install", "-d", *owner, "-m", "2770", folder)
        machine.run("install", *owner, "-m", "0660", "/dev/null", f"{folder}/returns.db")
        self.configure("shop")
        url = f"postgresql://returns@127.0.0.1:{self.postgres}/returns"
        self.configure("away", url=url, wait="1s")
        self.configure("patient", url=url, wait="12s")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "carrier")

    def drop_in(self, instance: str, *lines: str) -> None:
        """Lines of `[Service]` for one instance."""
        folder = f"/etc/systemd/system/returns-worker@{instance}.service.d"
        self._machine.write(f"{folder}/trial.conf", "\n".join(("[Service]", *lines, "")))

    def configure(
        self,
        instance: str,
        *,
        url: str = "sqlite:///returns.db",
        wait: str = "30s",
        key: str | None = KEY,
        more: str = "",
    ) -> None:
        """Settings of an instance, readable by its group; and its credential, unless `key` is None."""
        carrier = f"http://127.0.0.1:{self.carrier}"
        text = BY_INSTANCE.format(url=url, wait=wait, carrier=carrier, more=more)
        self._machine.write(f"/etc/returns-worker/{instance}.toml", text)
        self._machine.run("chown", "root:returns-worker", f"/etc/returns-worker/{instance}.toml")
        if key is not None:
            self.put_key(f"/etc/returns-worker/{instance}/default.api_key", key)

    def put_key(self, file: str, key: str, *, readable: bool = False) -> None:
        """A key file, for root alone, or readable by the group."""
        group = ["-g", "returns-worker", "-m", "0640"] if readable else ["-m", "0600"]
        self._machine.run("install", "-D", *group, "/dev/stdin", file, stdin=f"{key}\n")

    def environment(self, pid: str) -> list[str]:
        """A process' environment."""
        return self._machine.run("cat", f"/proc/{pid}/environ").strip("\0").split("\0")

    def running(self, instance: str, restarts: int | None = None) -> dict[str, str]:
        """What systemd says of an instance that must be active, and restarted so often."""
        unit = f"returns-worker@{instance}"
        shown = self._machine.show(unit, "ActiveState", "SubState", "MainPID", "NRestarts")
        require(shown["ActiveState"] == "active", f"{shown} {self._machine.journal(unit)[-2000:]}")
        require(restarts is None or shown["NRestarts"] == str(restarts), shown)
        return shown

    def again(self, instance: str, before: str) -> dict[str, str] | None:
        """The same, once another process than `before` is ready."""
        shown = self._machine.show(f"returns-worker@{instance}", "ActiveState", "MainPID", "NRestarts")
        return shown if shown["ActiveState"] == "active" and shown["MainPID"] not in {before, "0"} else None

    def status(self, instance: str) -> str:
        """What the worker says it is doing."""
        return self._machine.show(f"returns-worker@{instance}", "StatusText")["StatusText"]

    def status_with(self, instance: str, words: str) -> str:
        """The same, once these words are in it."""
        status = self.status(instance)
        return status if words in status else ""

    def line(self, unit: str, words: str) -> str:
        """The last line of the unit's journal with these words in it."""
        lines = [line for line in self._machine.journal(unit).splitlines() if words in line]
        require(lines, f"the journal of {unit} does not say {words!r}: {self._machine.journal(unit)[-2000:]}")
        return lines[-1]

    def is_refused(self, instance: str, words: str) -> str:
        """A start that must fail with 78 and not be tried again; these words are in the journal."""
        unit = f"returns-worker@{instance}"
        self._machine.run("systemctl", "start", unit, check=False)
        shown = self._machine.show(unit, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
        line = self.line(unit, words)
        require(shown["ActiveState"] == "failed" and shown["ExecMainStatus"] == "78", f"{shown}: {line}")
        require(shown["NRestarts"] == "0", shown)
        return f"{shown['ActiveState']}, exit code 78, NRestarts=0; journal: {line.strip()}"

    def is_held(self, instance: str) -> str:
        """Insert a return, and wait until the account is held for its key."""
        self.sql(instance, self.insert())
        return repr(until(lambda: self.status_with(instance, "carrier_key_refused"), 30, "the account is held"))

    @staticmethod
    def insert() -> str:
        """The statement of README.md, for SQLite."""
        readme = (CHECKOUT / "README.md").read_text()
        insert = re.search(r"<!-- sqlite -->\n```sql\n(.*?)```", readme, re.DOTALL)
        assert insert is not None, "README.md has no statement for SQLite"
        return insert[1]

    def make_slow(self, operation: str) -> None:
        """The carrier's next answer to this comes byte by byte."""
        wish = {"operation": operation, "fault": "trickle", "seconds_per_byte": 0.05}
        url = f"http://127.0.0.1:{self.carrier}/simulator/faults"
        asked = urllib.request.Request(url, json.dumps(wish).encode(), {"Content-Type": "application/json"})
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=5).close()

    def goes_through(self, instance: str) -> None:
        """Wait until the one return is completed."""
        until(lambda: self.sql(instance, "SELECT state FROM return_order") == "completed", 60, "completed")

    def sql(self, instance: str, statement: str, user: str = "root") -> str:
        """What sqlite3 says."""
        file = f"/var/lib/returns-worker/{instance}/returns.db"
        return self._machine.run("runuser", "-u", user, "--", "sqlite3", "-cmd", ".timeout 5000", file, stdin=statement)
