"""What deploy/kubernetes promises: read as it is written, and as kustomize puts it together where kubectl is there."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.carriers.registry import CARRIERS
from worker.settings import Settings, load

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
FILES = sorted(KUBERNETES.rglob("*.yaml"))
OVERLAYS = ("sqlite", "postgresql")
PORT = 9464

Manifest = dict[str, Any]
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def built(overlay: str) -> list[Manifest]:
    """All manifests of an overlay, as `kubectl apply -k` would send them."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _read(file: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def _one(built: list[Manifest], kind: str, name: str = "returns-worker") -> Manifest:
    (found,) = (item for item in built if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def _pods(built: list[Manifest]) -> Iterator[Manifest]:
    for item in built:
        if item["kind"] in {"Deployment", "Job"}:
            yield item["spec"]["template"]


def _environ(built: list[Manifest]) -> dict[str, str]:
    (container,) = _one(built, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item["value"] for item in container["env"]}


def _settings(built: list[Manifest], tmp_path: Path) -> Settings:
    """The worker's, from the ConfigMap and the environment; Secrets are files of this test."""
    (config,) = (item for item in built if item["kind"] == "ConfigMap")
    (tmp_path / "worker.toml").write_text(config["data"]["worker.toml"])
    (tmp_path / "key").write_text("IZI-key")
    (tmp_path / "url").write_text("postgresql://returns_worker:secret@database/returns")
    environ = _environ(built)
    assert environ.pop("RETURNS_WORKER_CONFIG") == "/etc/returns-worker/worker.toml"
    if "RETURNS_WORKER_DATABASE__URL_FILE" in environ:
        environ["RETURNS_WORKER_DATABASE__URL_FILE"] = str(tmp_path / "url")
    environ["RETURNS_WORKER_ACCOUNTS__DEFAULT__API_KEY_FILE"] = str(tmp_path / "key")
    return load(tmp_path / "worker.toml", environ, need_keys=True, carriers=CARRIERS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(KUBERNETES)))
def test_every_file_is_used_and_says_what_it_is(file: Path) -> None:
    for item in _read(file):
        assert {"apiVersion", "kind"} <= set(item)
    if file.name == "kustomization.yaml":
        return
    (kustomization,) = _read(file.with_name("kustomization.yaml"))
    named = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))]
    assert file.name in named


@needs_kubectl
def test_every_pod_is_confined(built: list[Manifest]) -> None:
    for template in _pods(built):
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            assert container["image"] == "registry.example/returns-worker:0.1.0"


@needs_kubectl
def test_no_service_hands_its_pods_variables_that_look_like_settings(built: list[Manifest]) -> None:
    assert all(template["spec"]["enableServiceLinks"] is False for template in _pods(built))


@needs_kubectl
def test_what_is_mounted_is_there_and_a_secret_is_mounted_whole(built: list[Manifest]) -> None:
    maps = {item["metadata"]["name"] for item in built if item["kind"] == "ConfigMap"}
    for template in _pods(built):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for container in template["spec"]["containers"]:
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert {mount["name"] for mount in mounts.values()} == set(volumes)
            assert "/tmp" in mounts
            for mount in mounts.values():
                assert "secret" not in volumes[mount["name"]] or "subPath" not in mount
        for volume in volumes.values():
            assert len(volume) == 2, "a name and one source"
            assert volume.get("configMap", {}).get("name") in {None, *maps}


@needs_kubectl
def test_the_files_that_settings_name_are_mounted(built: list[Manifest]) -> None:
    (container,) = _one(built, "Deployment")["spec"]["template"]["spec"]["containers"]
    folders = {mount["mountPath"] for mount in container["volumeMounts"]}
    (config,) = (item for item in built if item["kind"] == "ConfigMap")
    named = [value for name, value in _environ(built).items() if name.endswith(("_FILE", "_CONFIG"))]
    named += [line.split('"')[1] for line in config["data"]["worker.toml"].splitlines() if "_file = " in line]
    assert len(named) >= 2
    for path in named:
        assert path in folders or path.rpartition("/")[0] in folders, path


@needs_kubectl
def test_the_probes_ask_the_worker_and_a_stop_has_time(built: list[Manifest], tmp_path: Path) -> None:
    pod = _one(built, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    asked = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in asked.values()} == {"metrics"}
    assert container["ports"] == [{"name": "metrics", "containerPort": PORT}]
    settings = _settings(built, tmp_path)
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > settings.database.wait.total_seconds()
    assert pod["terminationGracePeriodSeconds"] > settings.worker.grace.total_seconds() + 4


@needs_kubectl
def test_selectors_find_the_workers_and_not_the_job(built: list[Manifest]) -> None:
    deployment = _one(built, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        _one(built, "Service")["spec"]["selector"],
        *(item["spec"]["selector"]["matchLabels"] for item in built if item["kind"] == "PodDisruptionBudget"),
    ]
    jobs = [item["spec"]["template"]["metadata"]["labels"] for item in built if item["kind"] == "Job"]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not any(selector.items() <= job.items() for job in jobs)


@needs_kubectl
def test_the_network_is_closed_but_for_what_is_named(built: list[Manifest], overlay: str) -> None:
    policies = [item["spec"] for item in built if item["kind"] == "NetworkPolicy"]
    for policy in policies:
        assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "returns-worker"}}
    (way_in,) = (rule for policy in policies for rule in policy.get("ingress", []))
    assert way_in["ports"] == [{"port": PORT, "protocol": "TCP"}]
    assert way_in["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    out = {port["port"] for policy in policies for rule in policy["egress"] for port in rule["ports"]}
    assert out == ({53, 443, 5432} if overlay == "postgresql" else {53, 443})


@needs_kubectl
@pytest.mark.parametrize("overlay", ["sqlite"], indirect=True)
def test_sqlite_has_one_worker_that_ends_before_the_next_begins(built: list[Manifest], tmp_path: Path) -> None:
    deployment = _one(built, "Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    claim = _one(built, "PersistentVolumeClaim", "returns-worker-state")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    volumes = {volume["name"]: volume for volume in deployment["template"]["spec"]["volumes"]}
    assert volumes["state"]["persistentVolumeClaim"] == {"claimName": "returns-worker-state"}
    settings = _settings(built, tmp_path)
    assert settings.database.url == "sqlite:////var/lib/returns-worker/returns.db"
    assert settings.labels.store == "file:///var/lib/returns-worker/labels"
    assert not [item for item in built if item["kind"] == "PodDisruptionBudget"]


@needs_kubectl
@pytest.mark.parametrize("overlay", ["postgresql"], indirect=True)
def test_postgresql_has_several_workers_with_one_label_store_and_the_owner_migrates(
    built: list[Manifest], tmp_path: Path
) -> None:
    deployment = _one(built, "Deployment")["spec"]
    budget = _one(built, "PodDisruptionBudget")["spec"]
    assert deployment["replicas"] > budget["minAvailable"] >= 1
    settings = _settings(built, tmp_path)
    assert settings.database.kind == "postgresql"
    assert not settings.database.migrates_itself
    assert settings.labels.store.startswith("s3://")
    job = _one(built, "Job", "returns-worker-migrate")["spec"]["template"]["spec"]
    assert job["containers"][0]["args"] == ["migrate"]
    owners = _secrets(job)
    assert owners == {"returns-worker-owner"}
    assert not owners & _secrets(deployment["template"]["spec"])


def _secrets(pod: Manifest) -> set[str]:
    return {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
