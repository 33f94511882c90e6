"""What completes a PostgreSQL URL, as for every program of PostgreSQL's: a service, variables, the user's folder."""

import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from worker.dsn.parameters import PARAMETERS, BadUrl

_LONGEST = 1_000_000  # bytes of a file


class Given(NamedTuple):
    """A parameter's value, and what a person has to look for to change it."""

    value: str
    named: str


@dataclass(frozen=True)
class Surroundings:
    """The process' environment, and the user it runs as."""

    environ: Mapping[str, str]

    @property
    def user(self) -> str | None:
        """The user's name; None where the number of the user has none, as in some containers."""
        entry = _entry()
        return entry.pw_name if entry is not None else None

    def own_file(self, name: str) -> Path | None:
        """`~/NAME`, if it is there."""
        entry = _entry()
        home = self.environ.get("HOME") or (entry.pw_dir if entry is not None else None)
        path = Path(home, name) if home else None
        return path if path and path.is_file() else None


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(os.geteuid())
    except KeyError:
        return None


def completed(uri: Mapping[str, str], around: Surroundings) -> dict[str, Given]:
    """The parameters of a URL, then those of the service that it or PGSERVICE names, then the variables'."""
    given = {name: Given(value, name) for name, value in uri.items()}
    variables = {
        name: Given(around.environ[each.variable], each.variable)
        for name, each in PARAMETERS.items()
        if each.variable is not None and each.variable in around.environ
    }
    if around.environ.get("PGREQUIRESSL", "").startswith("1"):
        variables.setdefault("sslmode", Given("require", "PGREQUIRESSL"))
    service = given.get("service") or variables.get("service")
    if service is not None:
        given = _service(service, (given.get("servicefile") or variables.get("servicefile")), around) | given
    given = variables | given
    for name, (value, named) in given.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadUrl(f"{named} must be UTF-8 text") from None
        PARAMETERS[name].check(value, named)
    return given


def _service(service: Given, named_file: Given | None, around: Surroundings) -> dict[str, Given]:
    """The parameters of a service, out of the first file that has it."""
    if named_file is not None:
        files = [Path(named_file.value)]
        if "\0" in named_file.value or not files[0].is_file():
            raise BadUrl(f"{named_file.named}: there is no file {files[0]}")
    else:
        folder = around.environ.get("PGSYSCONFDIR")
        own = around.own_file(".pg_service.conf")
        system = Path(folder, "pg_service.conf") if folder else None
        files = [file for file in (own, system) if file is not None and file.is_file()]
    for file in files:
        found = _section(file, service.value)
        if found is not None:
            return found
    looked = ", ".join(map(str, files)) or "~/.pg_service.conf, which is not there, nor is one that PGSERVICEFILE names"
    raise BadUrl(f"{service.named}: there is no such service in {looked}")


def _section(file: Path, service: str) -> dict[str, Given] | None:
    """The parameters below `[service]`, the first of each; None where there is no such section."""
    found: dict[str, Given] | None = None
    for number, text in enumerate(read_lines(file)[0], start=1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if found is not None:
                break
            found = {} if line == f"[{service}]" else None
        elif found is not None:
            name, equals, value = line.partition("=")
            if name == "service" or name.startswith("ldap"):
                raise BadUrl(f"{file}, line {number}: a service that refers to another place is not supported")
            if not equals or name not in PARAMETERS:
                raise BadUrl(f"{file}, line {number}: must be NAME=VALUE, with a name of PostgreSQL's own")
            found.setdefault(name, Given(value, f"{name} in {file}, line {number},"))
    return found


def read_lines(file: Path) -> tuple[list[str], int]:
    """The lines of a small text file without their ends, and its mode; raises `BadUrl`."""
    try:
        text, mode = read_small(file, _LONGEST)
    except (OSError, ValueError) as error:
        raise BadUrl(unreadable(file, error)) from None
    return [line.rstrip("\r") for line in text.split("\n")], mode


def read_small(file: Path, longest: int) -> tuple[str, int]:
    """A text file of at most so many bytes, and its mode; raises OSError, and ValueError that says what it is."""
    if file.is_dir():
        raise ValueError("is not a regular file")
    # Without waiting: a pipe could block the whole worker.
    with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("is not a regular file")
        content = stream.read(longest + 1)
    if len(content) > longest:
        raise ValueError(f"is longer than {longest} bytes")
    try:
        return content.decode("utf-8-sig"), mode
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def unreadable(file: Path | str, error: OSError | ValueError) -> str:
    """What is said of a file that `read_small` could not take."""
    return f"{file}: cannot be read: {error.strerror}" if isinstance(error, OSError) else f"{file}: {error}"
