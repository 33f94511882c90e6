#!/usr/bin/env python3
"""Tries deploy/systemd under a real systemd, booted in a folder; prints what it sees, exits with 1 if a check failed.

    sudo tests/trials/systemd.py [--cache FOLDER]

It needs root, git, pip, Debian's packages systemd-container and debootstrap, and, once, a network. Nothing of this
machine's own systemd is touched; its network is shared, so free ports are chosen. The shipped units run as they are,
but for what a drop-in changes; that is said where it is.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from booted import CHECKOUT, Failed, Machine, install, make_base, make_wheels, require, until
from instances import KEY, Instances


class Trial:
    """The checks, in the order in which they are written; each returns what it saw, or raises `Failed`."""

    def __init__(self, machine: Machine) -> None:
        """`machine` is booted."""
        self._machine = machine
        self._at = Instances(machine)
        self._hung, self._hung_at = "", 0.0

    def checks(self) -> list[Callable[[], str]]:
        """All of them."""
        return [getattr(self, name) for name in vars(type(self)) if not name.startswith("_") and name != "checks"]

    def units_are_correct(self) -> str:
        """The units say nothing that systemd does not understand"""
        self._at.write_machine()
        units = (
            "returns-worker@shop.service",
            "returns-worker-backup@shop.service",
            "returns-worker-backup@shop.timer",
        )
        said = self._machine.run("systemd-analyze", "verify", *units)
        require("returns-worker" not in said, said)
        return "systemd-analyze verify: no complaint"

    def start(self) -> str:
        """A start lasts until the worker is ready"""
        self._machine.run("systemctl", "start", "returns-worker@shop")
        shown = self._at.running("shop", restarts=0)
        require('"event": "ready"' in self._machine.journal("returns-worker@shop"), "no line `ready` when it returned")
        status = self._machine.run("systemctl", "status", "--no-pager", "returns-worker@shop")
        require(re.search(r'Status: "0 steps in flight, 0 returns due"', status), status)
        return f"active ({shown['SubState']}); systemctl status says {self._at.status('shop')!r}"

    def database_away(self) -> str:
        """A database that is away at boot: tried again and again (drop-in: RestartSec=200ms)"""
        self._machine.run("systemctl", "start", "--no-block", "returns-worker@away")
        status = until(lambda: self._at.status_with("away", "waiting for the database"), 10, "a status")
        return f"while it starts, the status is {status!r}; looked at again below"

    def long_start(self) -> str:
        """A start may wait for the database longer than TimeoutStartSec= (drop-in: 8s; database.wait: 12s)"""
        began = time.monotonic()
        self._machine.run("systemctl", "start", "returns-worker@patient", check=False)
        took = time.monotonic() - began
        shown = self._machine.show("returns-worker@patient", "Result", "ExecMainStatus")
        require(shown == {"Result": "exit-code", "ExecMainStatus": "69"} and took > 10, f"{shown}, {took:.1f} s")
        return f"exit 69 by itself after {took:.1f} s, no time-out by systemd"

    def return_of_a_shop(self) -> str:
        """A return that another user of the group inserts with sqlite3 goes to its end, its label stored"""
        self._at.sql("shop", self._at.insert(), user="webshop")
        row = "SELECT state, tracking_status FROM return_order WHERE reference = 'RMA-1001'"
        until(lambda: self._at.sql("shop", row, user="webshop") == "completed|delivered", 60, "completed")
        location, pages = self._at.sql("shop", "SELECT location, page_count FROM label").split("|")
        found = self._machine.run("find", "/var/lib/returns-worker/shop/labels", "-name", "*.pdf")
        head = self._machine.run("head", "-c", "5", found)
        require(head == "%PDF-" and found.endswith(location.rpartition("/")[2]), f"{found}: {head}; {location}")
        return f"completed, delivered; {location}: {head}, {pages} page"

    def check_as_the_unit(self) -> str:
        """`check` with the unit's credential and folder, as docs/operate/deployment.md writes it"""
        page = (CHECKOUT / "docs" / "operate" / "deployment.md").read_text()
        command = re.search(r"<!-- systemd-check -->\n```sh\n(.*?)```", page, re.DOTALL)
        assert command is not None, "docs/operate/deployment.md shows no check"
        said = self._machine.run("sh", "-c", command[1])
        good = [line for line in said.splitlines() if line.startswith("ok ")]
        require(len(good) == 3 and "error" not in said, said)
        return "; ".join(" ".join(line.split()) for line in good)

    def label_reader(self) -> str:
        """The process that reads labels was started under the restrictions, keeps its memory limit, knows no secret"""
        main = self._machine.show("returns-worker@shop", "MainPID")["MainPID"]
        child = self._machine.run("pgrep", "--parent", main).split()[0]
        limits = self._machine.run("cat", f"/proc/{child}/limits")
        limit = re.search(r"Max address space +(\d+)", limits)
        require(limit is not None and limit[1] == str(1 << 30), limits)
        names = {line.partition("=")[0] for line in self._at.environment(child)}
        require(not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"}, names)
        return f"address space {(1 << 30) >> 20} MiB; its environment: {', '.join(sorted(names))}"

    def exposure(self) -> str:
        """The exposure, as this systemd itself computes it for the units that it has loaded"""
        seen = []
        for unit in ("returns-worker@shop.service", "returns-worker-backup@shop.service"):
            said = self._machine.run("systemd-analyze", "security", "--no-pager", unit)
            found = re.search(r"exposure level for .*: ([0-9.]+)", said)
            require(found is not None and float(found[1]) <= 1.1, said.splitlines()[-1])
            seen.append(f"{unit} {found[1]}" if found else "")
        return ", ".join(seen)

    def restrictions(self) -> str:
        """The restrictions are in force, and the key is in no environment and readable by the worker alone"""
        main = self._machine.show("returns-worker@shop", "MainPID")["MainPID"]
        status = dict(
            line.split(":\t", 1)
            for line in self._machine.run("cat", f"/proc/{main}/status").splitlines()
            if ":\t" in line
        )
        seen = {name: status[name].strip() for name in ("Seccomp", "NoNewPrivs", "CapBnd")}
        require(seen == {"Seccomp": "2", "NoNewPrivs": "1", "CapBnd": "0000000000000000"}, seen)
        require(KEY not in " ".join(self._at.environment(main)), "the key is in the environment")
        credential = "/run/credentials/returns-worker@shop.service/default.api_key"
        mode = self._machine.run("stat", "--format=%a %U", credential)
        require(mode == "400 returns-worker", mode)
        require(KEY not in self._machine.journal("returns-worker@shop"), "the key is in the journal")
        return f"{seen}; credential {mode}"

    def crash(self) -> str:
        """A crash (SIGKILL): started again, ready again"""
        before = self._machine.show("returns-worker@shop", "MainPID")["MainPID"]
        self._machine.run("kill", "-KILL", before)
        shown = until(lambda: self._at.again("shop", before), 30, "ready again")
        return f"main process {before} -> {shown['MainPID']}, NRestarts={shown['NRestarts']}, {shown['ActiveState']}"

    def hang(self) -> str:
        """A hang (SIGSTOP) begins; the units' own WatchdogSec= is waited for below"""
        shown = self._machine.show("returns-worker@shop", "MainPID", "WatchdogUSec")
        self._hung = shown["MainPID"]
        self._machine.run("kill", "-STOP", shown["MainPID"])
        self._hung_at = time.monotonic()
        return f"main process {shown['MainPID']} stopped, WatchdogUSec={shown['WatchdogUSec']}"

    def missing_key(self) -> str:
        """A key file that is missing: 78, not started again, and a line that says what to do"""
        self._at.configure("nokey", key=None)
        return self._at.is_refused("nokey", "default.api_key")

    def bad_configuration(self) -> str:
        """Bad configuration: 78, not started again"""
        self._at.configure("bad", more='timeout = "nonsense"')
        return self._at.is_refused("bad", "accounts.default.timeout")

    def unreadable_configuration(self) -> str:
        """A settings file that the user cannot read: 78, not started again"""
        self._at.configure("closed")
        self._machine.run("chmod", "600", "/etc/returns-worker/closed.toml")
        return self._at.is_refused("closed", "cannot be read: Permission denied")

    def key_file_rotated(self) -> str:
        """A refused key in a file (api_key_file): replaced by `install`, without a restart"""
        file = "/etc/returns-worker/keyfile/izipack.key"
        self._at.configure("keyfile", key=None, more=f'api_key_file = "{file}"')
        self._at.put_key(file, "IZI-wrong", readable=True)
        self._machine.run("systemctl", "start", "returns-worker@keyfile")
        held = self._at.is_held("keyfile")
        before = self._at.running("keyfile", restarts=0)["MainPID"]
        self._at.put_key(file, KEY, readable=True)
        self._at.goes_through("keyfile")
        require(self._at.running("keyfile", restarts=0)["MainPID"] == before, "it was restarted")
        return f"{held}; then completed, main process {before} all the time"

    def credential_rotated(self) -> str:
        """A refused key in a credential: the file is replaced, and the unit restarted"""
        self._at.configure("credential", key="IZI-wrong")
        self._machine.run("systemctl", "start", "returns-worker@credential")
        held = self._at.is_held("credential")
        self._at.put_key("/etc/returns-worker/credential/default.api_key", KEY)
        self._machine.run("systemctl", "restart", "returns-worker@credential")
        self._at.goes_through("credential")
        return f"{held}; then completed"

    def database_comes(self) -> str:
        """The database comes after more failed starts than any start limit allows"""
        unit = "returns-worker@away"

        def tried() -> bool:
            shown = self._machine.show(unit, "NRestarts", "ActiveState")
            require(shown["ActiveState"] != "failed", shown)
            return int(shown["NRestarts"]) > 10

        until(tried, 90, "ten restarts")
        shown = self._machine.show(unit, "NRestarts", "ActiveState", "SubState")
        said = self._machine.journal(unit)
        endings = re.findall(r"Main process exited, (.*)", said)
        require(set(endings) == {"code=exited, status=69/UNAVAILABLE"}, set(endings))
        require("timed out" not in said, said[-2000:])
        self._machine.run("systemctl", "start", "postgresql@15-main")
        self._machine.run("systemctl", "stop", unit)  # the role and the database are made in peace
        statements = (
            "CREATE ROLE returns LOGIN",
            "CREATE DATABASE returns OWNER returns ENCODING 'UTF8' TEMPLATE template0",
        )
        for statement in statements:
            self._machine.run(
                "runuser", "-u", "postgres", "--", "psql", "-q", "-p", str(self._at.postgres), "-c", statement
            )
        self._machine.run("systemctl", "start", unit)
        now = self._at.running("away")
        return (
            f"after {shown['NRestarts']} restarts {shown['ActiveState']} ({shown['SubState']}), all {len(endings)}"
            f" ended by exit 69; with the database there: {now['ActiveState']}, {self._at.status('away')!r}"
        )

    def database_goes(self) -> str:
        """A database that goes away under a ready worker is waited out, and no hang (drop-in: WatchdogSec=3s)"""
        unit, server = "returns-worker@away", "postgresql@15-main"
        before = self._at.running("away")["MainPID"]
        self._machine.run("systemctl", "stop", server)
        status = until(lambda: self._at.status_with("away", "the database is away since"), 20, "a status that says so")
        time.sleep(8)  # more than twice the watchdog's time
        require(self._at.running("away", restarts=0)["MainPID"] == before, "it was restarted")
        self._machine.run("systemctl", "start", server)
        back = until(lambda: self._at.status_with("away", "0 steps in flight, 0 returns due"), 20, "work again")
        require(self._at.running("away", restarts=0)["MainPID"] == before, "it was restarted")
        self._machine.run("systemctl", "stop", unit)
        return f"{status!r} for 8 s, then {back!r}; main process {before} all the time"

    def traces(self) -> str:
        """What the watchdog sends (SIGABRT) leaves the traces of every thread in the journal, and no core file"""
        before = self._at.running("keyfile")["MainPID"]
        self._machine.run("kill", "-ABRT", before)
        until(lambda: self._at.again("keyfile", before), 60, "ready again")
        self._at.line("returns-worker@keyfile", "Fatal Python error: Aborted")
        said = self._machine.journal("returns-worker@keyfile")
        require("status=6/ABRT" in said and "code=dumped" not in said, said[-1500:])
        where = self._at.line("returns-worker@keyfile", "in run_forever")
        return f"Fatal Python error: Aborted, {said.count('(most recent call first)')} threads, such as {where.strip()}"

    def backup(self) -> str:
        """The backup unit writes a sound copy, readable by its user alone; its timer is set"""
        self._machine.run("systemctl", "start", "returns-worker-backup@shop")
        folder = "/var/backups/returns-worker/shop"
        (copy,) = self._machine.run("find", folder, "-type", "f").splitlines()
        sound = self._machine.run("sqlite3", copy, "PRAGMA integrity_check; SELECT state FROM return_order")
        require(sound == "ok\ncompleted", sound)
        mode = self._machine.run("stat", "--format=%a %U", copy, folder).replace("\n", ", ")
        require(mode == "600 returns-worker, 700 returns-worker", mode)
        folders = self._machine.run("stat", "--format=%a", "/var/lib/returns-worker/shop")
        require(folders == "2770", f"the backup changed the mode of the worker's folder to {folders}")
        self._machine.run("systemctl", "enable", "--now", "--quiet", "returns-worker-backup@shop.timer")
        shown = self._machine.show(
            "returns-worker-backup@shop.timer", "ActiveState", "NextElapseUSecRealtime", "Persistent"
        )
        require(shown["ActiveState"] == "active" and shown["Persistent"] == "yes", shown)
        return f"{copy}: integrity_check ok; {mode}; next {shown['NextElapseUSecRealtime']}"

    def backup_of_postgresql(self) -> str:
        """The backup unit fails for PostgreSQL, and says what to use"""
        self._machine.run("systemctl", "start", "returns-worker-backup@away", check=False)
        shown = self._machine.show("returns-worker-backup@away", "ExecMainStatus", "ActiveState")
        line = self._at.line("returns-worker-backup@away", "pg_dump")
        require(shown == {"ExecMainStatus": "1", "ActiveState": "failed"}, shown)
        return f"{shown['ActiveState']}, exit code 1: {line}"

    def watchdog(self) -> str:
        """The watchdog killed the one that hung, and it is ready again"""
        left = max(80 - (time.monotonic() - self._hung_at), 5)
        shown = until(lambda: self._at.again("shop", self._hung), left, "ready again after a hang")
        line = self._at.line("returns-worker@shop", "Watchdog timeout")
        return f"journal: {line}; main process {self._hung} -> {shown['MainPID']}, NRestarts={shown['NRestarts']}"

    def clean_stop(self) -> str:
        """A stop while a creation is under way: it is finished, within the grace; exit 0, the log is checkpointed"""
        self._at.make_slow("create")
        self._at.sql("shop", self._at.insert().replace("RMA-1001", "RMA-1002"))
        row = "SELECT state, lease_owner IS NOT NULL FROM return_order WHERE reference = 'RMA-1002'"
        until(lambda: self._at.sql("shop", row) == "pending|1", 20, "a creation under way")
        before = time.monotonic()
        self._machine.run("systemctl", "stop", "returns-worker@shop")
        took = time.monotonic() - before
        shown = self._machine.show("returns-worker@shop", "ActiveState", "Result", "ExecMainCode", "ExecMainStatus")
        require(shown["ActiveState"] == "inactive" and shown["Result"] == "success", shown)
        require(shown["ExecMainStatus"] == "0" and took < 25, f"{shown}, {took:.1f} s")
        files = self._machine.run("ls", "/var/lib/returns-worker/shop").split()
        require("returns.db" in files and "returns.db-wal" not in files, files)
        require(took > 1, f"it was over in {took:.1f} s: nothing was under way")
        after = self._at.sql("shop", row)
        require(after == "tracking|0", after)
        return f"{took:.1f} s, exit 0; the return went from pending to tracking meanwhile; left: {' '.join(files)}"


def main() -> int:
    """Make the system, run every check, say the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cache", type=Path, help="where the bare system and the wheels are kept for the next time")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="returns-worker-trial-", dir="/var/tmp") as folder:
        cache = options.cache.resolve() if options.cache else Path(folder)
        cache.mkdir(parents=True, exist_ok=True)
        root = Path(folder) / "root"
        base, wheels = make_base(cache), make_wheels(cache)
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
        install(root, wheels)
        machine = Machine(root, Path(folder) / "console.log")
        try:
            booting = time.monotonic()
            machine.boot()
            _say_where(machine, time.monotonic() - booting)
            checking = time.monotonic()
            failures = _run(Trial(machine))
            took = time.monotonic() - checking
        finally:
            machine.close()
        shutil.rmtree(root)
    verdict = "every check passed" if not failures else f"{failures} checks FAILED"
    print(f"{verdict}; {time.monotonic() - began:.0f} s, of which the checks took {took:.0f} s")
    return 1 if failures else 0


def _run(trial: Trial) -> int:
    failures = 0
    for check in trial.checks():
        promise = (check.__doc__ or "").strip()
        try:
            seen, word = check(), "ok    "
        except (Failed, subprocess.SubprocessError, ValueError, IndexError) as error:
            seen, word = str(error), "FAILED"
            failures += 1
        print(f"{word} {promise}\n       {seen}", flush=True)
    return failures


def _say_where(machine: Machine, seconds: float) -> None:
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    systemd = machine.run("systemctl", "--version").splitlines()[0]
    python = machine.run("/opt/returns-worker/bin/python", "--version")
    release = machine.run("cat", "/etc/debian_version")
    print(f"{time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip()}, {systemd}, Debian {release}, {python}")
    print(f"kernel {platform.release()}, {os.cpu_count()} processors; booted in {seconds:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
