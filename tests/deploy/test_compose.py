"""What deploy/compose.yaml promises of every service, and that its settings, secrets and mounted files fit together."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import yaml

from worker.carriers.registry import CARRIERS
from worker.settings import Settings, load
from worker.store.database import Database
from worker.store.schema import migrate

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
each_service = pytest.mark.parametrize("name", sorted(SERVICES))

# compose refuses a key that it does not know; a parser of YAML does not. https://docs.docker.com/reference/compose-file/services/
KNOWN_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "deploy", "entrypoint", "environment", "healthcheck", "image"),
    *("networks", "ports", "read_only", "restart", "secrets", "security_opt", "stop_grace_period", "tmpfs", "user"),
    "volumes",
}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-secrets.sh makes."""
    folder = tmp_path_factory.mktemp("deploy")
    key = folder / "key"
    key.write_text("IZI-first\n")
    _make_secrets(key, folder / "secrets")
    return folder / "secrets"


def _make_secrets(key: Path, folder: Path) -> None:
    subprocess.run(["sh", str(DEPLOY / "compose" / "make-secrets.sh"), str(key), str(folder)], check=True)


def _settings(name: str, secrets: Path) -> Settings:
    """A service's settings, with its mounts where they are on this machine."""
    environ = dict(SERVICES[name]["environment"])
    environ["RETURNS_WORKER_DATABASE__URL_FILE"] = environ["RETURNS_WORKER_DATABASE__URL_FILE"].replace(
        "/run/secrets", str(secrets)
    )
    file = environ.pop("RETURNS_WORKER_CONFIG", None)
    if file is None:
        return load(environ=environ)
    settings = load(DEPLOY / "compose" / "worker.toml", environ)
    key_file = settings.accounts["default"].api_key_file
    assert key_file is not None
    local = _local(name, str(key_file)).replace(str(DEPLOY / "secrets"), str(secrets))
    environ["RETURNS_WORKER_ACCOUNTS__DEFAULT__API_KEY_FILE"] = local
    return load(DEPLOY / "compose" / "worker.toml", environ, need_keys=True, carriers=CARRIERS)


def _mounts(name: str) -> dict[str, str]:
    return {target: source for source, target, *_ in (mount.split(":") for mount in SERVICES[name].get("volumes", []))}


def _local(name: str, path: str) -> str:
    """Where a path of the container is on this machine."""
    for target, source in _mounts(name).items():
        if source.startswith("./") and (path == target or path.startswith(f"{target}/")):
            return str(DEPLOY / source.removeprefix("./")) + path.removeprefix(target)
    raise AssertionError(f"{name} mounts nothing at {path}")


@each_service
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= KNOWN_KEYS
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    user = service["user"].split(":")[0]
    assert user.isdigit()
    assert user != "0"


@each_service
def test_every_service_has_its_limits(name: str) -> None:
    assert set(SERVICES[name]["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


@each_service
def test_every_image_is_pinned_by_digest_or_built_here(name: str) -> None:
    image = SERVICES[name]["image"]
    if "build" in SERVICES[name]:
        assert re.fullmatch(r"returns-worker:\d+\.\d+\.\d+", image)
    else:
        assert re.fullmatch(r"docker\.io/[a-z/]+:v?\d[\w.-]+@sha256:[0-9a-f]{64}", image), image


def test_the_page_that_says_how_to_renew_names_every_image() -> None:
    page = (ROOT / "docs" / "operate" / "deployment.md").read_text(encoding="utf-8")
    (loop,) = re.findall(r"<!-- renew -->\n```sh\nfor image in (.*?); do\n", page, re.DOTALL)
    base = re.findall(r"^ARG BASE=(.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    others = {service["image"].partition("@")[0] for service in SERVICES.values() if "build" not in service}
    assert set(loop.replace("\\\n", " ").split()) == {*base, *others}


@each_service
def test_every_port_is_published_on_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@each_service
def test_every_mounted_file_is_in_the_repository_or_made_as_a_secret(name: str, secrets: Path) -> None:
    for source in _mounts(name).values():
        if source.startswith("./secrets/"):
            assert (secrets / source.removeprefix("./secrets/")).exists(), source
        elif source.startswith("./"):
            assert (DEPLOY / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
    for secret in SERVICES[name].get("secrets", []):
        file = COMPOSE["secrets"][secret]["file"]
        assert (secrets / file.removeprefix("./secrets/")).is_file()


@each_service
def test_every_password_comes_from_a_secret(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        assert "://" not in value
        if "PASSWORD" in variable:
            assert value.startswith("/run/secrets/")
        if value.startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in SERVICES[name]["secrets"]


def test_postgresql_is_reached_from_its_own_network_alone() -> None:
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert COMPOSE["networks"]["database"]["internal"] is True
    assert "ports" not in SERVICES["postgres"]


def test_the_workers_settings_load_and_name_its_own_role(secrets: Path) -> None:
    settings = _settings("worker", secrets)
    password = (secrets / "worker_password").read_text()
    assert settings.database.url == f"postgresql://returns_worker:{password}@postgres/{_database()}"
    assert not settings.database.migrates_itself
    state = _mounts("worker")[settings.labels.store.removeprefix("file://").rpartition("/")[0]]
    assert state in COMPOSE["volumes"]


@pytest.mark.skipif(shutil.which("psql") is None, reason="needs the psql shell (Debian: postgresql-client)")
async def test_the_first_start_and_every_later_one_migrate_as_the_owner_of_the_tables(
    secrets: Path, tmp_path: Path, postgres_url: str
) -> None:
    for name in ("sql/roles.sql", "compose/roles.psql", "compose/owner.psql"):
        text = (DEPLOY / name).read_text(encoding="utf-8").replace("/run/secrets", str(secrets))
        (tmp_path / name.rpartition("/")[2]).write_text(text)
    administrator, owner = urlsplit(postgres_url), urlsplit(_settings("migrate", secrets).database.url)
    as_owner = administrator._replace(netloc=f"{owner.username}@{administrator.netloc.rpartition('@')[2]}").geturl()
    there = await _roles(postgres_url)
    try:
        for _ in range(2):
            await _run_psql("owner", tmp_path, postgres_url)
            database = Database(as_owner)
            await migrate(database)
            await database.close()
            await _run_psql("roles", tmp_path, postgres_url)
        connection = await asyncpg.connect(postgres_url)
        rows = await connection.fetch(
            "SELECT rolname, rolpassword, rolsuper FROM pg_authid WHERE rolname ~ '^returns_'"
        )
        passwords = {row["rolname"]: row["rolpassword"] for row in rows}
        with_password = {name for name, password in passwords.items() if password}
        assert with_password == {"returns_owner", "returns_worker", "returns_shop"}
        assert not any(row["rolsuper"] for row in rows)
        owners = await connection.fetch("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
        assert [row["tableowner"] for row in owners] == ["returns_owner"]
        await connection.close()
    finally:
        # They belong to the server, and would outlive this test's database.
        connection = await asyncpg.connect(postgres_url)
        for role in await _roles(postgres_url) - there:
            await connection.execute(f"DROP OWNED BY {role} CASCADE")
            await connection.execute(f"DROP ROLE {role}")
        await connection.close()


async def _run_psql(name: str, mounts: Path, url: str) -> None:
    """A step of psql as the service runs it, on this machine's files and the tests' database."""
    program, *words = (word.replace("/etc/returns-worker", str(mounts)) for word in SERVICES[name]["entrypoint"])
    await asyncio.to_thread(subprocess.run, [program, *words, url], check=True, capture_output=True)


async def _roles(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT rolname FROM pg_roles")
    await connection.close()
    return {row["rolname"] for row in rows}


def test_the_superusers_password_is_where_only_he_can_help(secrets: Path) -> None:
    password = (secrets / "postgres_password").read_text()
    files = {file.name for file in secrets.iterdir() if file.is_file() and password in file.read_text()}
    assert files == {"postgres_password", "admin_service"}
    assert {name for name, service in SERVICES.items() if files & set(service.get("secrets", []))} == {
        *("postgres", "owner", "roles"),
    }
    own = (secrets / "owner_password").read_text()
    assert _settings("migrate", secrets).database.url == f"postgresql://returns_owner:{own}@postgres/{_database()}"
    assert SERVICES["migrate"]["secrets"] == ["migrate_url"]


def test_the_owner_the_schema_and_the_roles_come_before_the_workers() -> None:
    done = {"condition": "service_completed_successfully"}
    assert SERVICES["owner"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["depends_on"] == {"owner": done}
    assert SERVICES["roles"]["depends_on"] == {"migrate": done}
    assert SERVICES["worker"]["depends_on"] == {"roles": done}


def test_two_workers_have_longer_to_stop_than_they_take(secrets: Path) -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    grace = _settings("worker", secrets).worker.grace.total_seconds()
    assert float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > grace + 4


def test_prometheus_finds_the_workers_by_the_services_name() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "returns-worker"
    (names,) = job["dns_sd_configs"]
    assert names["names"] == ["worker"]
    assert names["port"] == int(re.findall(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0])
    assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES["worker"]["networks"]) == {"monitoring"}


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "returns-worker.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "returns-worker.yml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert [target for target in _mounts("grafana") if target.startswith(f"{folder}/") and target.endswith(".json")]


def test_secrets_are_made_once_and_only_the_key_is_replaced(secrets: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir() if file.is_file()}
    assert len({before[name] for name in before if name.endswith("_password")}) == 5
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in secrets.rglob("*") if file.is_file()} == {0o444}
    (tmp_path / "key").write_text("IZI-second\n")
    _make_secrets(tmp_path / "key", secrets)
    assert {file.name: file.read_text() for file in secrets.iterdir() if file.is_file()} == before
    assert (secrets / "carriers" / "default.key").read_text() == "IZI-second\n"


def test_the_repository_holds_no_secret() -> None:
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert {file["file"].rpartition("/")[0] for file in COMPOSE["secrets"].values()} == {"./secrets"}


def _database() -> str:
    return str(SERVICES["postgres"]["environment"]["POSTGRES_DB"])
