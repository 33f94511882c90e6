"""From a file and the environment to frozen Settings, or to one error that names every problem."""

import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from worker.domain.file_names import check_file_name
from worker.dsn import unreadable
from worker.settings.checks import NO_CARRIERS, AtCarrier, cross_problems, missing_parts
from worker.settings.model import Settings
from worker.settings.problems import ConfigurationError, Keys, dotted, field_problems
from worker.settings.secrets import read_secret
from worker.settings.sources import Sources, read_sources

_CREDENTIAL = "database.url"


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    need_accounts: bool = False,
    need_keys: bool = False,
    carriers: Mapping[str, AtCarrier] = NO_CARRIERS,
) -> Settings:
    """Load the settings from `file` (else RETURNS_WORKER_CONFIG, else ./returns-worker.toml) and `environ`.

    `environ` is `os.environ` unless given. `need_accounts` asks for at least one account, `need_keys` for a usable
    API key for each account as well; `carriers` has what each says of its accounts' settings, by its name; without it,
    receivers are checked by their shape alone. Raises ConfigurationError with every problem, and nothing else.
    """
    environ = os.environ if environ is None else environ
    sources = read_sources(file, environ)
    has_url = _read_database_url(sources, environ.get("CREDENTIALS_DIRECTORY"))
    settings, found = _validated(sources)

    def is_bad(place: Keys) -> bool:
        return any(keys[: len(place)] == place or place[: len(keys)] == keys for keys, _ in found)

    if sources.file_failed:
        # What the file would have said is unknown: only what the environment itself has wrong is certain.
        certain = {keys for keys, _ in sources.problems}
        origins = [(item, sources.origin(item[0]) or "") for item in found]
        found = [item for item, origin in origins if item[0] in certain or origin.startswith("environment ")]
    else:
        found += list(cross_problems(settings, environ, is_bad, carriers))
        if need_accounts or need_keys:
            found += list(missing_parts(settings, environ, is_bad, keys=need_keys))
    if found:
        raise ConfigurationError([_line(sources, keys, text) for keys, text in found])
    if has_url and settings.database.url_file is not None:  # so that file is not read
        database = settings.database.model_copy(update={"url_file": None})
        settings = settings.model_copy(update={"database": database})
    return settings


def _validated(sources: Sources) -> tuple[Settings, list[tuple[Keys, str]]]:
    """Validate; where that fails, drop what is bad and validate again, so that the rest can be checked too."""
    raw = deepcopy(sources.raw)
    found = list(sources.problems)
    _drop(raw, [keys for keys, _ in found])
    while True:
        try:
            return Settings.model_validate(raw), found
        except ValidationError as error:
            new = field_problems(Settings, error)
        # From None above all: pydantic's error holds the input, and with it the secrets.
        found += [item for item in new if item not in found]
        if not _drop(raw, [keys for keys, _ in new]):
            return Settings(), found


def _drop(raw: dict[str, Any], places: Iterable[Keys]) -> bool:
    """Remove the setting at each place, or the innermost thing around it; whether anything was removed."""
    # All are found before one is removed: the second bad item of a list would take the table around it along.
    found = [innermost for keys in places if (innermost := _innermost(raw, keys)) is not None]
    for table, last in found:
        table.pop(last, None)
    return bool(found)


def _innermost(raw: dict[str, Any], keys: Keys) -> tuple[dict[str, Any], str] | None:
    """The table and its key at which `keys` ends, as far as it leads; None where it leads nowhere."""
    found = None
    inside: Any = raw
    for key in keys:
        if not isinstance(inside, dict) or key not in inside:
            break
        found, inside = (inside, key), inside[key]
    return found


def _read_database_url(sources: Sources, credentials: str | None) -> bool:
    """Put the URL from `database.url_file` in its place, unless there is one already; whether there was.

    Where neither is set, a systemd credential `database.url` is that file.
    """
    database = sources.raw.setdefault("database", {})
    if not isinstance(database, dict):
        return False
    if "url" in database:
        return True
    configured = database.get("url_file")
    file = configured or (credentials and str(Path(credentials, _CREDENTIAL)))
    if not file or not isinstance(file, str):
        return False
    try:
        if configured:
            check_file_name(file)
    except ValueError:
        return False  # the check of the setting itself says so
    try:
        database |= {"url": read_secret(Path(file)), "url_file": file}
        sources.origins["database", "url"] = file
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and not configured:
            return False  # a unit has credentials without this one
        sources.problems.append((("database", "url_file"), unreadable(file, error)))
    return False


def _line(sources: Sources, keys: Keys, text: str) -> str:
    if keys == (str(sources.file),):
        return f"{sources.file}: {text}"
    origin = sources.origin(keys)
    return f"{dotted(keys)}: {text}" + (f" [{origin}]" if origin else "")
