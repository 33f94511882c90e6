"""Builds and runs an image with Debian's buildah and podman, on a machine that may be a container itself."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TOOLS = ("buildah", "podman", "crun", "debootstrap", "unshare")
BASE = "docker.io/library/python:3.12-slim-bookworm"
IMAGE = "localhost/returns-worker:trial"
PYTHON = "/opt/returns-worker/bin/python"  # in the image; there is a shell in it, but nothing here needs it

_OWN_MOUNTS = "RETURNS_WORKER_TRIAL_OWN_MOUNTS"
_UNIFIED = Path("/sys/fs/cgroup/unified")


def enter_own_mounts() -> None:
    """Begin again in a mount namespace of one's own, without what crun cannot use; nobody else sees the difference.

    crun refuses machines that mount both kinds of control groups ("cgroups in hybrid mode not supported").
    """
    if os.environ.get(_OWN_MOUNTS) is None:
        os.environ[_OWN_MOUNTS] = "yes"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    if _UNIFIED.is_mount():
        subprocess.run(["umount", str(_UNIFIED)], check=True)


def missing_tools() -> list[str]:
    """What the trial needs and this machine has not."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def version_of(tool: str) -> str:
    """The first line a tool says about its version."""
    return subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


class Engine:
    """buildah and podman with a storage of their own below `folder`; every container is removed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._storage = ["--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
        self._containers: list[str] = []

    def make_base(self) -> str:
        """Import a Debian with its own Python under the official image's name; kept for the next run."""
        tree = self.folder / "base"
        if self._has_image(BASE):
            return "kept from an earlier run"
        if not (self.folder / "base.made").exists():
            shutil.rmtree(tree, ignore_errors=True)
            _quietly(
                "debootstrap",
                "--variant=minbase",
                "--include=python3,python3-venv,python3-pip,ca-certificates",
                "bookworm",
                str(tree),
            )
            (self.folder / "base.made").touch()
        (tree / "usr/local/bin/python").unlink(missing_ok=True)
        (tree / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        (tree / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
        give_pip_settings(tree)
        packed = self.folder / "base.tar"
        _quietly("tar", "-C", str(tree), "-cf", str(packed), ".")
        path = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        _quietly("podman", *self._storage, "import", "--change", path, str(packed), BASE)
        packed.unlink()
        return "made by debootstrap"

    def build(self, source: Path, **arguments: str) -> None:
        """Build the image on the stand-in; the isolation is chroot, since this machine may be a container itself."""
        arguments |= {"BASE_DIGEST": self.digest(BASE)}
        _quietly(
            *("buildah", *self._storage, "bud", "--isolation", "chroot", "--pull-never", "--network", "host"),
            *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
            *("--no-cache", "--format", "docker", "-t", IMAGE, str(source)),
        )

    def digest(self, image: str) -> str:
        """By which an image here is pinned."""
        return self._podman("image", "inspect", "--format", "{{.Digest}}", image).stdout.strip()

    def size(self, image: str) -> int:
        """Bytes of an image, all its layers."""
        return int(self._podman("image", "inspect", "--format", "{{.Size}}", image).stdout)

    def settings_of_image(self) -> dict[str, Any]:
        """What the image says about how it is run."""
        found: dict[str, Any] = json.loads(self._podman("image", "inspect", IMAGE).stdout)[0]
        return found

    def start(
        self, name: str, *words: str, mounts: tuple[str, ...] = (), environ: dict[str, str] | None = None
    ) -> None:
        """Start a container as it is meant to run: no capability, no new privileges, nothing writable but its mounts.

        Control groups, higher limits and timers for health checks need a systemd or rights that a machine inside a
        container has not; the network is the machine's.
        """
        self._containers.append(name)
        self._podman(
            *("--cgroup-manager", "cgroupfs", "--runtime", "crun", "run", "--detach", "--name", name),
            *("--network", "host", "--cgroups", "disabled", "--health-interval", "disable"),
            *("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=1024:1024"),
            *("--read-only", "--cap-drop=all", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp"),
            *(word for mount in mounts for word in ("--volume", mount)),
            *(word for key, value in (environ or {}).items() for word in ("--env", f"{key}={value}")),
            *(IMAGE, *words),
        )

    def execute(self, name: str, *words: str) -> tuple[int, str]:
        """Exit code and output of a command in a running container."""
        done = self._podman("--cgroup-manager", "cgroupfs", "--runtime", "crun", "exec", name, *words, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def check_health(self, name: str) -> tuple[int, str]:
        """Exit code and output of the image's own HEALTHCHECK, run once as a timer would run it."""
        engine = ("--cgroup-manager", "cgroupfs", "--runtime", "crun")
        code = self._podman(*engine, "healthcheck", "run", name, check=False).returncode
        log = json.loads(self._podman("inspect", "--format", "{{json .State.Health}}", name).stdout)["Log"]
        return code, str(max(log, key=lambda entry: str(entry["End"]))["Output"]).strip()

    def pid(self, name: str) -> int:
        """The container's first process, as this machine numbers it."""
        return int(self._podman("inspect", "--format", "{{.State.Pid}}", name).stdout)

    def stop(self, name: str, seconds: int) -> tuple[int, float]:
        """Exit code, and how long the stop took; after `seconds` it is killed."""
        began = time.monotonic()
        self._podman("stop", "--time", str(seconds), name)
        return self.exit_code(name), time.monotonic() - began

    def ended(self, name: str) -> int:
        """Wait until it has ended by itself; the exit code."""
        return int(self._podman("wait", name).stdout)

    def exit_code(self, name: str) -> int:
        """Of a container that has ended."""
        return int(self._podman("inspect", "--format", "{{.State.ExitCode}}", name).stdout)

    def log(self, name: str) -> str:
        """All it has said."""
        done = self._podman("logs", name)
        return done.stdout + done.stderr

    def remove_all(self) -> None:
        """End and remove every container that was started here."""
        if self._containers:
            self._podman("rm", "--force", "--time", "0", "--ignore", *self._containers)
        self._containers.clear()

    def _has_image(self, image: str) -> bool:
        return self._podman("image", "exists", image, check=False).returncode == 0

    def _podman(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["podman", *self._storage, *words], capture_output=True, text=True, check=False, timeout=600
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"podman {' '.join(words)}: {done.stderr.strip()}")
        return done


def give_pip_settings(tree: Path) -> None:
    """What this machine's environment tells pip, such as a proxy's certificates, goes into the base image alone.

    So that our Dockerfile stays as it is everywhere.
    """
    lines = ["[global]"]
    if index := os.environ.get("PIP_INDEX_URL"):
        lines.append(f"index-url = {index}")
    if bundle := os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE"):
        shutil.copy(bundle, tree / "etc/ssl/certs/ca-certificates.crt")
        lines.append("cert = /etc/ssl/certs/ca-certificates.crt")
    (tree / "etc/pip.conf").write_text("\n".join(lines) + "\n")


def _quietly(*words: str) -> None:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
