"""The password out of a password file, by libpq's rules (https://www.postgresql.org/docs/18/libpq-pgpass.html)."""

import re
import stat

from worker.dsn.errors import BadUrl
from worker.dsn.files import read_lines
from worker.dsn.postgresql import PostgresqlUrl, Server

_FIELD = re.compile(r"((?:\\.|[^\\:])*\\?)(?::|$)")
_ESCAPED = re.compile(r"\\(.)")


def password_of(url: PostgresqlUrl) -> str | None:
    """The password to log in with, as the file has it now; None where there is none. Raises `BadUrl`."""
    if url.password is not None or url.passfile is None:
        return url.password
    lines, mode = read_lines(url.passfile)
    found = {_found(lines, each, url) for each in url.servers} - {None}
    if found and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadUrl(f"{url.passfile}: has the password, and others can read it too: chmod 600 it")
    if len(found) > 1:
        raise BadUrl(f"{url.passfile}: has different passwords for the hosts, and one is used for all of them")
    return found.pop() if found else None


def _found(lines: list[str], server: Server, url: PostgresqlUrl) -> str | None:
    host = server.host or server.address or "localhost"
    # Whether a folder is the server's own, which goes by localhost, is not known here.
    hosts = {host, "localhost"} if host.startswith("/") else {host}
    wanted = (hosts, {str(server.port)}, {url.database}, {url.user})
    for line in lines:
        if line.startswith("#"):
            continue
        fields = _FIELD.findall(line)
        if len(fields) > len(wanted) and all(
            field == "*" or _ESCAPED.sub(r"\1", field) in among for field, among in zip(fields, wanted, strict=False)
        ):
            return _ESCAPED.sub(r"\1", fields[len(wanted)]) or None
    return None
