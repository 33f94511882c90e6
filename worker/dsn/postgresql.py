"""What a PostgreSQL URL means, with all that completes it: where, as whom, and how safely."""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from worker.dsn.parameters import SSL_MODES, TLS_VERSIONS, BadUrl
from worker.dsn.surroundings import Given, Surroundings, completed, read_lines
from worker.dsn.uri import read_uri

_PORT = 5432
_PORTS = range(1, 65_536)
_FIELD = re.compile(r"((?:\\.|[^\\:])*\\?)(?::|$)")  # of a password file
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Server:
    """One of the places where the database may be."""

    host: str  # a name, an address, the folder of a socket, or "": this machine, by its socket where there is one
    address: str  # the address to connect to where one is given (`hostaddr`); else the host once more
    port: int


@dataclass(frozen=True)
class Tls:
    """How a connection is encrypted, and whom it trusts; None: nothing of the kind is given."""

    mode: str
    direct: bool
    root: str | None  # a file, or `system` for the authorities that the system trusts
    certificate: str | None
    key: str | None
    password: str | None = field(repr=False)
    revoked: str | None
    revoked_folder: str | None
    lowest: str
    highest: str | None

    @property
    def is_certain(self) -> bool:
        """Whether there is no connection without it."""
        return SSL_MODES.index(self.mode) >= SSL_MODES.index("require")


@dataclass(frozen=True)
class PostgresqlUrl:
    """A PostgreSQL database, read as libpq reads it."""

    servers: tuple[Server, ...]
    user: str
    password: str | None = field(repr=False)
    passfile: Path | None  # where the password may stand if none is given
    database: str
    tls: Tls
    connect_timeout: int  # in seconds; 0: not given
    application_name: str | None
    options: str | None  # what the server takes as its own command line's, such as `-c work_mem=5MB`
    target_session_attrs: str
    in_any_order: bool
    kerberos_name: str | None

    @property
    def place(self) -> str:
        """What the database is called to everybody: a URL with the servers and its name alone."""
        ports = (f":{each.port}" if each.port != _PORT else "" for each in self.servers)
        names = (each.host or each.address for each in self.servers)
        hosts = (f"[{name}]" if ":" in name else quote(name, safe="") for name in names)
        places = ",".join(f"{host}{port}" for host, port in zip(hosts, ports, strict=True))
        return f"postgresql://{places}/{quote(self.database, safe='')}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be seen."""
        return tuple(each for each in (self.password, self.tls.password) if each)


def read_postgresql(rest: str, environ: Mapping[str, str]) -> PostgresqlUrl:
    """Read a URL, complete it by service file and environment, and check all of it; raises `BadUrl`.

    `rest` follows the URL's `postgresql://`. Files of certificates and passwords are not looked at: they may change
    while a worker runs.
    """
    around = Surroundings(environ)
    given = completed(read_uri(rest), around)
    value = partial(_value, given)
    user = value("user") if "user" in given else around.user
    if user is None:
        raise BadUrl("user must be given: it is empty, or the user that this process runs as has no name")
    servers = tuple(_servers(given))
    tls = _tls(given, around)
    if all(each.address.startswith("/") for each in servers):  # a socket is never encrypted
        tls = replace(tls, mode="disable", direct=False)
    if tls.mode == "verify-full" and any(not each.host and each.address for each in servers):
        raise BadUrl("hostaddr with sslmode=verify-full needs host as well: the name that the certificate must have")
    passfile = value("passfile")
    return PostgresqlUrl(
        servers=servers,
        user=user,
        password=value("password"),
        passfile=Path(passfile) if passfile else around.own_file(".pgpass"),
        database=value("dbname") or user,
        tls=tls,
        connect_timeout=max(int(value("connect_timeout") or 0), 0),
        application_name=value("application_name") or value("fallback_application_name"),
        options=value("options"),
        target_session_attrs=value("target_session_attrs") or "any",
        in_any_order=value("load_balance_hosts") == "random",
        kerberos_name=value("krbsrvname"),
    )


def password_of(url: PostgresqlUrl) -> str | None:
    """The password to log in with, as the file has it now; None where there is none. Raises `BadUrl`.

    By libpq's rules: https://www.postgresql.org/docs/18/libpq-pgpass.html.
    """
    if url.password is not None or url.passfile is None:
        return url.password
    lines, mode = read_lines(url.passfile)
    found = {_password_in(lines, each, url) for each in url.servers} - {None}
    if found and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadUrl(f"{url.passfile}: has the password, and others can read it too: chmod 600 it")
    if len(found) > 1:
        raise BadUrl(f"{url.passfile}: has different passwords for the hosts, and one is used for all of them")
    return found.pop() if found else None


def _password_in(lines: list[str], server: Server, url: PostgresqlUrl) -> str | None:
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


def _value(given: Mapping[str, Given], name: str) -> str | None:
    return given[name].value or None if name in given else None


def _servers(given: Mapping[str, Given]) -> list[Server]:
    names, addresses, ports = (
        given[name].value.split(",") if name in given and given[name].value else []
        for name in ("host", "hostaddr", "port")
    )
    if names and addresses and len(names) != len(addresses):
        raise BadUrl(f"{given['hostaddr'].named} must have as many addresses as {given['host'].named} has names")
    count = len(addresses or names) or 1
    if len(ports) > 1 and len(ports) != count:
        raise BadUrl(f"{given['port'].named} must have one port, or as many as there are hosts")
    if any(name.startswith("@") for name in names):
        raise BadUrl(f"{given['host'].named} must be no abstract socket: the driver knows those in folders only")
    names, addresses = names or [""] * count, addresses or names or [""] * count
    numbers = [_port(port, given) for port in ports] or [_PORT]
    numbers = numbers * count if len(numbers) == 1 else numbers
    return [Server(name, address or name, port) for name, address, port in zip(names, addresses, numbers, strict=True)]


def _port(text: str, given: Mapping[str, Given]) -> int:
    digits = text.strip(" ")
    if not digits:
        return _PORT
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10 and int(digits) in _PORTS):
        raise BadUrl(f"{given['port'].named} must be a number from 1 to 65535")
    return int(digits)


def _tls(given: Mapping[str, Given], around: Surroundings) -> Tls:
    value = partial(_value, given)
    root = value("sslrootcert")
    mode = value("sslmode") or ("verify-full" if root == "system" else "prefer")
    if root == "system" and mode != "verify-full":
        raise BadUrl(f"{given['sslmode'].named} must be verify-full where {given['sslrootcert'].named} is system")
    direct = value("sslnegotiation") == "direct"
    lowest, highest = (value("ssl_min_protocol_version") or "tlsv1.2").lower(), value("ssl_max_protocol_version")
    highest = highest and highest.lower()
    if highest is not None and TLS_VERSIONS.index(highest) < TLS_VERSIONS.index(lowest):
        raise BadUrl(f"{given['ssl_max_protocol_version'].named} must not be below the lowest version, {lowest}")
    tls = Tls(
        mode=mode,
        direct=direct,
        root=root or _own(around, "root.crt"),
        certificate=value("sslcert") or _own(around, "postgresql.crt"),
        key=value("sslkey") or _own(around, "postgresql.key"),
        password=value("sslpassword"),
        revoked=value("sslcrl") or (None if value("sslcrldir") else _own(around, "root.crl")),
        revoked_folder=value("sslcrldir"),
        lowest=lowest,
        highest=highest,
    )
    if direct and not tls.is_certain:
        raise BadUrl(f"{given['sslnegotiation'].named}=direct needs sslmode=require, verify-ca or verify-full")
    return tls


def _own(around: Surroundings, name: str) -> str | None:
    file = around.own_file(f".postgresql/{name}")
    return str(file) if file is not None else None
