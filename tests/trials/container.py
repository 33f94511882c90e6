#!/usr/bin/env python3
"""Builds the image, runs it as it is meant to run, and says what was seen; needs root and Debian's buildah and podman.

    apt-get install --no-install-recommends buildah podman crun uidmap debootstrap
    sudo tests/trials/container.py

The base image is a stand-in: Debian 12 with its own Python 3.11 under the official image's name. So this tries the
Dockerfile and what runs in it, not the official base. The HEALTHCHECK is run by `podman healthcheck run`, since its
timer wants a systemd, and the containers use the machine's network. --postgresql URL adds two workers on a PostgreSQL.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine import BASE, IMAGE, PYTHON, Engine, enter_own_mounts, missing_tools, version_of
from ground import GRACE, KEY, PAYLOAD, UID, Ground, require, until

ROOT = Path(__file__).parents[2]
CREATED = "2026-10-01T00:00:00Z"


class Trial:
    """The checks in their order, on one state folder, with one simulated carrier."""

    def __init__(self, engine: Engine, postgresql: str | None) -> None:
        self.engine = engine
        self.postgresql = postgresql
        self.failures = 0
        self.ground = Ground(engine.folder)

    def check(self, name: str, look: Callable[[], str]) -> None:
        """Run one check and print a line for it."""
        began = time.monotonic()
        try:
            verdict, seen = "ok  ", look()
        except Exception as error:  # a trial goes on to the next check, whatever this one met
            verdict, seen = "FAIL", f"{type(error).__name__}: {error}"
            self.failures += 1
        print(f"{verdict} {time.monotonic() - began:5.1f} s  {name}: {seen}", flush=True)

    def run(self) -> None:
        """All checks."""
        engine = self.engine
        self.check("build", self.build)
        if self.failures:
            return
        self.check("size", self.size)
        self.check("what the image says", self.said_by_image)
        self.check("where it says it comes from", self.labels)
        engine.start("simulator", "simulate", "--port", str(self.ground.simulator), "--stage-seconds", "1")
        self.start_worker("worker")
        self.check("start", lambda: self.well("worker"))
        self.check("no privileges", self.privileges)
        self.check("read-only root", self.read_only)
        self.check("metrics", self.metrics)
        self.check("health", lambda: self.health(0))
        self.check("a return to its end, with its label", lambda: self.completes("R-1"))
        self.check("a hang is seen by health", self.hang)
        self.check("a replaced key file is noticed", self.replaced_key)
        self.check("podman stop", self.stop)
        self.check("the same volume goes on", self.goes_on)
        self.check("a missing key", self.missing_key)
        self.check("bad configuration", self.bad_configuration)
        self.check("PostgreSQL away", self.database_away)
        if self.postgresql:
            self.check("two workers on PostgreSQL", self.share_postgresql)

    # What the image is

    def build(self) -> str:
        """From an empty cache."""
        self.engine.build(ROOT, REVISION="0" * 40, CREATED=CREATED)
        return f"{IMAGE} from {BASE} (stand-in: Debian 12, Python 3.11)"

    def size(self) -> str:
        """All of it, and what is ours."""
        whole, base = self.engine.size(IMAGE), self.engine.size(BASE)
        require(whole - base < 150e6, f"{(whole - base) / 1e6:.0f} MB above the base")
        return f"{whole / 1e6:.0f} MB, of which {(whole - base) / 1e6:.0f} MB above the stand-in"

    def said_by_image(self) -> str:
        """User, stop signal, health check and command."""
        image = self.engine.settings_of_image()
        config = image["Config"]
        said = {name: config.get(name) for name in ("User", "StopSignal", "Entrypoint", "Cmd")}
        said["Healthcheck"] = (image.get("Healthcheck") or config["Healthcheck"])["Test"]
        expected = {
            "User": f"{UID}:{UID}",
            "StopSignal": "SIGTERM",
            "Entrypoint": ["returns-worker"],
            "Cmd": ["run"],
            "Healthcheck": ["CMD", "returns-worker", "health"],
        }
        require(said == expected, json.dumps(said))
        return json.dumps(said)

    def labels(self) -> str:
        """Those of the OCI image specification, with what the build was told."""
        labels = self.engine.settings_of_image()["Config"]["Labels"]
        seen = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
        expected = {
            "revision": "0" * 40,
            "created": CREATED,
            "base.name": BASE,
            "base.digest": self.engine.digest(BASE),
        }
        require(expected.items() <= seen.items() and all(seen.values()), json.dumps(seen))
        return json.dumps({name: seen[name] for name in ("source", *expected)})

    # How it runs

    def start_worker(self, name: str, *words: str, **environ: str) -> None:
        """A worker on the state folder of this trial."""
        self.engine.start(
            name,
            *words,
            mounts=(f"{self.ground.state}:/var/lib/returns-worker", f"{self.ground.conf}:/etc/returns-worker:ro"),
            environ={
                "RETURNS_WORKER_CONFIG": "/etc/returns-worker/worker.toml",
                "RETURNS_WORKER_HTTP__LISTEN": f"127.0.0.1:{self.ground.port}",
                **environ,
            },
        )

    def well(self, name: str) -> str:
        """It answers /readyz within a minute."""
        until(lambda: self.ground.get("/readyz")[0] == 200, 60, lambda: self.engine.log(name))
        return self.ground.get("/readyz")[1].strip()

    def privileges(self) -> str:
        """As the kernel says it."""
        status = Path(f"/proc/{self.engine.pid('worker')}/status").read_text()
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        seen = {
            name: lines[name].split("\t")[0] for name in ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
        }
        none = "0" * 16
        expected = {"Uid": str(UID), "Gid": str(UID), "CapEff": none, "CapBnd": none, "NoNewPrivs": "1"}
        require(all(seen[name] == value for name, value in expected.items()), json.dumps(seen))
        return ", ".join(f"{name} {value}" for name, value in seen.items())

    def read_only(self) -> str:
        """Nothing can be written but the state folder and /tmp."""
        code = (
            "import sys\n"
            "for place in sys.argv[1:]:\n"
            "    try: open(place + '/probe', 'w').close(); print(place, 'writable', end='; ')\n"
            "    except OSError as error: print(place, error.strerror, end='; ')"
        )
        places = ("/opt", "/etc/returns-worker", "/usr/bin", "/tmp", "/var/lib/returns-worker")
        said = self.engine.execute("worker", PYTHON, "-c", code, *places)[1]
        expected = (
            "/opt Read-only file system; /etc/returns-worker Read-only file system; /usr/bin Read-only file system; "
        )
        require(said == f"{expected}/tmp writable; /var/lib/returns-worker writable;", said)
        return said

    def metrics(self) -> str:
        """Prometheus finds what it looks for."""
        status, text = self.ground.get("/metrics")
        build = [line for line in text.splitlines() if line.startswith("returns_worker_build_info{")]
        require(status == 200 and len(build) == 1, f"{status} {text[:200]}")
        memory = float(self.ground.series("process_resident_memory_bytes")) / 1e6
        return f"{len(text.splitlines())} lines, {build[0]}, {memory:.0f} MB resident"

    def health(self, expected: int) -> str:
        """The image's own HEALTHCHECK."""
        began = time.monotonic()
        code, said = self.engine.check_health("worker")
        require(code == expected, f"exit {code}: {said}")
        return f"exit {code} after {time.monotonic() - began:.1f} s: {said}"

    def hang(self) -> str:
        """A stopped process answers nothing, and is well again when it goes on."""
        pid = self.engine.pid("worker")
        os.kill(pid, signal.SIGSTOP)
        try:
            hung = self.health(1)
        finally:
            os.kill(pid, signal.SIGCONT)
        return f"{hung}; gone on: {self.health(0)}"

    # What it does

    def completes(self, reference: str) -> str:
        """Inserted by plain SQL, followed to its end; the label is read back through the command."""
        self.ground.insert(reference)
        until(lambda: self.ground.row(reference)[0] == "completed", 60, lambda: f"{self.ground.row(reference)}")
        name, head = self.label_of(reference)
        return f"{reference} {', '.join(map(str, self.ground.row(reference)))}; {name} begins with {head}"

    def label_of(self, reference: str) -> tuple[str, str]:
        """Where the label is and how it begins."""
        sql = "SELECT location FROM label JOIN return_order ON return_order.id = return_order_id WHERE reference = ?"
        location = self.ground.sql(sql, reference)[0][0]
        code, said = self.engine.execute("worker", "returns-worker", "label", reference, "-o", "/tmp/label.pdf")
        require(code == 0, said)
        head = self.engine.execute("worker", PYTHON, "-c", "print(open('/tmp/label.pdf', 'rb').read(8))")[1]
        require("%PDF-" in head, head)
        return location, head

    def replaced_key(self) -> str:
        """A wrong key holds the account, the right one releases it, and the process is the same."""
        pid = self.engine.pid("worker")
        held = 'returns_worker_account_held_until_timestamp_seconds{account="default"}'
        self.ground.write_key("IZI-wrong")
        self.ground.insert("R-2")
        until(lambda: self.ground.series(held) == "+Inf", 60, lambda: self.engine.log("worker"))
        self.ground.write_key(KEY)
        until(lambda: self.ground.row("R-2")[0] == "completed", 60, lambda: self.engine.log("worker"))
        require(self.ground.series(held) == "0.0" and self.engine.pid("worker") == pid, self.ground.series(held))
        return "wrong key: held until +Inf, R-2 untouched; right key: R-2 completed, no restart"

    def stop(self) -> str:
        """Within the grace, with exit code 0, while a return is under way."""
        self.ground.insert("R-3 sim:stuck")
        until(lambda: self.ground.row("R-3 sim:stuck")[0] == "tracking", 60, lambda: self.engine.log("worker"))
        code, seconds = self.engine.stop("worker", GRACE + 10)
        require(code == 0 and seconds < GRACE, f"exit {code} after {seconds:.1f} s")
        leases = self.ground.sql("SELECT count(*) FROM return_order WHERE lease_owner IS NOT NULL")[0][0]
        require(leases == 0, f"{leases} returns are still held")
        return f"exit {code} after {seconds:.1f} s of {GRACE} s grace, nothing held"

    def goes_on(self) -> str:
        """Another container on the same folder follows what was there and creates nothing again."""
        self.start_worker("worker-again")
        self.well("worker-again")
        self.ground.insert("R-4")
        until(lambda: self.ground.row("R-4")[0] == "completed", 60, lambda: self.engine.log("worker-again"))
        polls = "SELECT unchanged_polls FROM return_order WHERE reference = 'R-3 sim:stuck'"
        before = self.ground.sql(polls)[0][0]
        until(lambda: self.ground.sql(polls)[0][0] > before, 60, lambda: f"{before} polls")
        created = 'returns_worker_carrier_requests_total{account="default",operation="create",outcome="ok"}'
        count = self.ground.series(created)
        code, _ = self.engine.stop("worker-again", GRACE + 10)
        require(count == "1.0" and code == 0, f"{count} creations, exit {code}")
        return "R-3 is polled on, R-4 completed, 1 creation since the restart"

    # What goes wrong

    def missing_key(self) -> str:
        """No key, no start."""
        (self.ground.conf / "izipack.key").unlink()
        try:
            return self.refused("no-key", 78, "api_key_file")
        finally:
            self.ground.write_key(KEY)

    def bad_configuration(self) -> str:
        """A setting that makes no sense."""
        return self.refused("bad", 78, "worker.lease", RETURNS_WORKER_WORKER__LEASE="soon")

    def database_away(self) -> str:
        """Nobody listens there."""
        return self.refused(
            "away", 69, "database cannot be reached", RETURNS_WORKER_DATABASE__URL="postgresql://nobody@127.0.0.1:1/x"
        )

    def refused(self, name: str, code: int, words: str, **environ: str) -> str:
        """It ends by itself with this code, and its last line says why."""
        self.start_worker(name, **environ)
        ended, log = self.engine.ended(name), self.engine.log(name)
        require(ended == code and words in log, f"exit {ended}: {log[-300:]}")
        return f"exit {ended}: {log.strip().splitlines()[-1].strip()}"

    # Several of them

    def share_postgresql(self) -> str:
        """The schema by a container that ends, then two workers that share the work."""
        self.ground.write_config('url_file = "/etc/returns-worker/database.url"')
        self.ground.write_file("database.url", self.postgresql or "")
        self.start_worker("migrate", "migrate")
        migrated = self.engine.ended("migrate"), self.engine.log("migrate").strip()
        require(migrated[0] == 0, migrated)
        ports = {"first": self.ground.port, "second": self.ground.second_port}
        for name, port in ports.items():
            self.start_worker(name, RETURNS_WORKER_HTTP__LISTEN=f"127.0.0.1:{port}")
        for port in ports.values():
            until(lambda port=port: self.ground.get("/readyz", port)[0] == 200, 60, lambda: self.engine.log("first"))  # type: ignore[misc]
        lines = [json.dumps({"reference": f"P-{number}", "payload": PAYLOAD}) for number in range(40)]
        self.ground.write_file("returns.jsonl", "\n".join(lines))
        code, said = self.engine.execute("first", "returns-worker", "add", "/etc/returns-worker/returns.jsonl")
        require(code == 0, said)
        listing = ("first", "returns-worker", "list", "--json", "--state", "completed")
        until(lambda: len(self.engine.execute(*listing)[1].splitlines()) == 40, 60, lambda: self.engine.log("first"))
        done = 'returns_worker_steps_total{account="default",outcome="created",step="create"}'
        created = {name: int(float(self.ground.series(done, port))) for name, port in ports.items()}
        require(sum(created.values()) == 40, created)
        codes = [self.engine.stop(name, GRACE + 10)[0] for name in ports]
        require(codes == [0, 0], codes)
        return f"{migrated[1].splitlines()[-1]}; 40 returns completed, created by {created}; both stopped with 0"


def main() -> int:
    """Make the base, run the checks, say how it went."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp/returns-worker-trial"), help="kept for the next run"
    )
    parser.add_argument("--postgresql", metavar="URL", help="an empty database that containers may use")
    words = parser.parse_args()
    if os.geteuid() != 0 or missing_tools():
        print(f"needs root, and: {', '.join(missing_tools()) or 'nothing else'}", file=sys.stderr)
        return 2
    enter_own_mounts()
    words.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    versions = ", ".join(version_of(tool) for tool in ("buildah", "podman", "crun"))
    print(f"container trial, {time.strftime('%F')}: {versions}", flush=True)
    engine = Engine(words.folder)
    print(f"base image: {engine.make_base()}", flush=True)
    trial = Trial(engine, words.postgresql)
    try:
        trial.run()
    finally:
        engine.remove_all()
    verdict = f"{trial.failures} checks FAILED" if trial.failures else "all checks passed"
    print(f"{verdict}, {time.monotonic() - began:.0f} s in all")
    return 1 if trial.failures else 0


if __name__ == "__main__":
    sys.exit(main())
