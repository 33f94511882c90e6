"""A Debian with a systemd of its own, booted in a folder by systemd-nspawn, with this checkout installed in it."""

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CHECKOUT = Path(__file__).parents[2]
SUITE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,libpam-systemd,python3,python3-venv,sqlite3,procps,postgresql"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INSTALLED = "/opt/returns-worker"


class Failed(Exception):
    """A check saw something else than what is promised."""


def require(condition: object, seen: object) -> None:
    """Fail with what was seen, unless the condition holds."""
    if not condition:
        raise Failed(str(seen))


def until(look: Callable[[], T], seconds: float, what: str) -> T:
    """Look until there is something, at most so long."""
    end = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)


def free_port() -> int:
    """A port that nobody listens on; the booted system shares this machine's network."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_base(cache: Path) -> Path:
    """The bare system, made once: `debootstrap` takes a minute or two."""
    base = cache / f"{SUITE}-base"
    if not base.is_dir():
        making = cache / f"{SUITE}-making"
        shutil.rmtree(making, ignore_errors=True)
        _call("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(making))
        making.rename(base)
    return base


def make_wheels(cache: Path) -> Path:
    """This checkout as a wheel, beside the locked requirements for the system's Python 3.11."""
    wheels, source = cache / "wheels", cache / "source"
    wheels.mkdir(exist_ok=True)
    for old in wheels.glob("returns_worker-*.whl"):
        old.unlink()
    shutil.rmtree(source, ignore_errors=True)  # a build would leave its traces in the checkout
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    for name in listed.splitlines():
        if (CHECKOUT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _call(*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source))
    lock, downloaded = CHECKOUT / "requirements.lock", wheels / "requirements.lock"
    if not downloaded.is_file() or downloaded.read_bytes() != lock.read_bytes():
        only = ["--only-binary=:all:", "--python-version", "3.11", "--require-hashes"]
        _call(*pip, "download", *only, "--dest", str(wheels), "-r", str(lock))
        shutil.copy(lock, downloaded)
    return wheels


def install(root: Path, wheels: Path) -> None:
    """Do to the system what docs/operate/deployment.md tells an operator to do, with wheels instead of a network."""
    shutil.copytree(wheels, root / "wheels")
    (own,) = wheels.glob("returns_worker-*.whl")
    pip = [f"{_INSTALLED}/bin/pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"]
    _inside(root, "python3", "-m", "venv", _INSTALLED)
    locked = ["--find-links", "/wheels", "--require-hashes", "-r", "/wheels/requirements.lock"]
    _inside(root, *pip, *locked)
    _inside(root, *pip, "--no-deps", f"/wheels/{own.name}")
    units = CHECKOUT / "deploy" / "systemd"
    for file in (*units.glob("*.service"), *units.glob("*.timer")):
        shutil.copy(file, root / "etc/systemd/system")
    shutil.copy(units / "returns-worker-at", root / "usr/local/sbin")
    (root / "etc/sysusers.d").mkdir(exist_ok=True)
    shutil.copy(units / "returns-worker.sysusers.conf", root / "etc/sysusers.d/returns-worker.conf")
    _inside(root, "systemd-sysusers")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")  # a minimal Debian has none
    _inside(root, "systemctl", "disable", "--quiet", "postgresql.service")  # its port may be taken here


class Machine:
    """The booted system; `boot`, then `run` commands in it, and `close`."""

    def __init__(self, root: Path, log: Path) -> None:
        """`root` is its root folder; what its console says goes to `log`."""
        self.root = root
        self._log = log
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Start it; returns when it is up."""
        ours, theirs = pty.openpty()  # systemd-nspawn boots on a terminal only
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", "-D", str(self.root), "--boot", "--register=no", "--keep-unit", "--console=interactive"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        threading.Thread(target=self._read_console, args=(ours,), daemon=True).start()
        self._leader = until(self._find_leader, 20, "systemd-nspawn starts a system")
        until(self._is_up, 60, "the system is up")

    def run(self, *command: str, check: bool = True, stdin: str | None = None) -> str:
        """What the command said on stdout and stderr."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), "-a", "env", "-i", f"PATH={_PATH}", "LANG=C.UTF-8", *command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=180,
        )
        if check and done.returncode:
            raise Failed(f"{' '.join(command)}: exit code {done.returncode}: {done.stdout.strip()}")
        return done.stdout.strip()

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit, as systemd itself knows them."""
        shown = self.run("systemctl", "show", unit, f"--property={','.join(names)}")
        return dict(line.split("=", 1) for line in shown.splitlines())

    def journal(self, unit: str) -> str:
        """What the unit, and systemd about the unit, has said since the boot."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file into the system."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def close(self) -> None:
        """Shut it down; kill it when it does not."""
        if self._nspawn is None:
            return
        if self._leader:
            self.run("systemctl", "poweroff", check=False)
        try:
            self._nspawn.wait(timeout=90)
        except subprocess.TimeoutExpired:
            os.kill(self._leader or self._nspawn.pid, signal.SIGKILL)
            self._nspawn.wait(timeout=30)
        left = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(self.root) in line]
        require(not left, f"mounts are left over: {left}")

    def _find_leader(self) -> int:
        assert self._nspawn is not None
        require(self._nspawn.poll() is None, f"systemd-nspawn ended; see {self._log}")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _is_up(self) -> bool:
        return self.run("systemctl", "is-system-running", check=False).splitlines()[-1:] in (["running"], ["degraded"])

    def _read_console(self, terminal: int) -> None:
        with self._log.open("wb", buffering=0) as log:
            while True:
                try:
                    said = os.read(terminal, 65536)
                except OSError:  # the other end is closed: the system is down
                    return
                log.write(said)


def _call(*command: str) -> None:
    print("+", " ".join(command), file=sys.stderr)
    subprocess.run(command, check=True, stdout=sys.stderr)


def _inside(root: Path, *command: str) -> None:
    environment = {"PATH": _PATH, "LANG": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull}
    subprocess.run(["chroot", str(root), *command], check=True, env=environment, stdout=sys.stderr)
