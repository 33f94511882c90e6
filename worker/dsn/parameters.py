"""Every parameter that libpq knows: which variable stands in for it, and what becomes of it here.

By https://www.postgresql.org/docs/18/libpq-connect.html and https://www.postgresql.org/docs/18/libpq-envars.html. What
cannot be had is refused where leaving it out would promise less than the URL says, and is else left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_VERSIONS = ("tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3")
_PROTOCOLS = ("3.0", "3.2", "latest")
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")  # as libpq reads it; more digits are no number of seconds


class BadUrl(ValueError):
    """The URL, or what completes it, cannot be used; the text names the parameter, variable or file, never a value."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of libpq's."""

    variable: str | None = None  # the environment variable that is read where the parameter is not given
    one_of: tuple[str, ...] = ()  # the values that there are, in lower case if `any_case`; none: any
    any_case: bool = False
    only: tuple[str, ...] = ()  # of these, the ones that are taken here ...
    why: str = ""  # ... and why no other is
    is_number: bool = False
    left_out: str = ""  # why it is read and does nothing

    def check(self, value: str, named: str) -> None:
        """Raise `BadUrl` for a value that is none of its, or that cannot be had; it is `named` in the message."""
        if self.is_number and not _WHOLE.fullmatch(value):
            raise BadUrl(f"{named} must be a whole number")
        if self.one_of and (value.lower() if self.any_case else value) not in self.one_of:
            raise BadUrl(f"{named} must be one of {', '.join(filter(None, self.one_of))}")
        if self.only and value not in self.only:
            taken = " or ".join(each for each in self.only if each)
            raise BadUrl(f"{named} is not supported: {self.why}; remove it" + (f", or say {taken}" if taken else ""))


_WANTED = ("disable", "prefer", "require")
_NO_OAUTH = "the driver cannot log in by OAuth"
_KEPT_ALIVE = Parameter(
    is_number=True, left_out="every statement has a deadline of its own, after which the connection is given up"
)


def _refused(variable: str | None, why: str) -> Parameter:
    return Parameter(variable, only=("",), why=why)


PARAMETERS: Mapping[str, Parameter] = {
    "service": Parameter("PGSERVICE"),
    "servicefile": Parameter("PGSERVICEFILE"),
    "user": Parameter("PGUSER"),
    "password": Parameter("PGPASSWORD"),
    "passfile": Parameter("PGPASSFILE"),
    "dbname": Parameter("PGDATABASE"),
    "host": Parameter("PGHOST"),
    "hostaddr": Parameter("PGHOSTADDR"),
    "port": Parameter("PGPORT"),
    "connect_timeout": Parameter("PGCONNECT_TIMEOUT", is_number=True),
    "options": Parameter("PGOPTIONS"),
    "application_name": Parameter("PGAPPNAME"),
    "fallback_application_name": Parameter(),
    "target_session_attrs": Parameter(
        "PGTARGETSESSIONATTRS", one_of=("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
    ),
    "load_balance_hosts": Parameter("PGLOADBALANCEHOSTS", one_of=("disable", "random")),
    "sslmode": Parameter("PGSSLMODE", one_of=SSL_MODES),
    "sslnegotiation": Parameter("PGSSLNEGOTIATION", one_of=("postgres", "direct")),
    "sslrootcert": Parameter("PGSSLROOTCERT"),
    "sslcert": Parameter("PGSSLCERT"),
    "sslkey": Parameter("PGSSLKEY"),
    "sslpassword": Parameter(),
    "sslcrl": Parameter("PGSSLCRL"),
    "sslcrldir": Parameter("PGSSLCRLDIR"),
    "ssl_min_protocol_version": Parameter("PGSSLMINPROTOCOLVERSION", one_of=("", *TLS_VERSIONS), any_case=True),
    "ssl_max_protocol_version": Parameter("PGSSLMAXPROTOCOLVERSION", one_of=("", *TLS_VERSIONS), any_case=True),
    "krbsrvname": Parameter("PGKRBSRVNAME"),
    "client_encoding": Parameter("PGCLIENTENCODING", left_out="the driver speaks UTF-8 with every database"),
    "sslcompression": Parameter("PGSSLCOMPRESSION", left_out="nothing is compressed, nor is it by libpq"),
    "keepalives": _KEPT_ALIVE,
    "keepalives_idle": _KEPT_ALIVE,
    "keepalives_interval": _KEPT_ALIVE,
    "keepalives_count": _KEPT_ALIVE,
    "tcp_user_timeout": _KEPT_ALIVE,
    "max_protocol_version": Parameter(
        "PGMAXPROTOCOLVERSION", one_of=("", *_PROTOCOLS), left_out="the driver speaks 3.0, which is the least"
    ),
    "min_protocol_version": Parameter(
        "PGMINPROTOCOLVERSION", one_of=("", *_PROTOCOLS), only=("", "3.0"), why="the driver speaks protocol 3.0"
    ),
    "channel_binding": Parameter(
        "PGCHANNELBINDING",
        one_of=_WANTED,
        only=_WANTED[:2],
        why="the driver has no channel binding; sslmode=verify-full tells the server from one in between",
    ),
    "gssencmode": Parameter(
        "PGGSSENCMODE", one_of=_WANTED, only=_WANTED[:2], why="connections are encrypted by TLS alone"
    ),
    "sslcertmode": Parameter(
        "PGSSLCERTMODE",
        one_of=("disable", "allow", "require"),
        only=("allow",),
        why="a certificate is shown where there is one and the server asks for it",
    ),
    "sslsni": Parameter("PGSSLSNI", only=("1",), why="the driver always tells which host it wants"),
    "requirepeer": _refused("PGREQUIREPEER", "the driver does not ask who is behind a socket"),
    "require_auth": _refused("PGREQUIREAUTH", "the driver takes any way of authentication that the server asks for"),
    "gsslib": Parameter("PGGSSLIB", only=("", "gssapi"), why="there is one library here"),
    "gssdelegation": Parameter("PGGSSDELEGATION", only=("", "0"), why="no ticket is handed on"),
    "replication": Parameter(
        only=("", "false", "off", "no", "0"), why="a connection for replication runs no statements of ours"
    ),
    "sslkeylogfile": _refused(None, "with that file the traffic could be read"),
    "scram_client_key": _refused(None, "the driver logs in by the password"),
    "scram_server_key": _refused(None, "the driver logs in by the password"),
    "oauth_issuer": _refused(None, _NO_OAUTH),
    "oauth_client_id": _refused(None, _NO_OAUTH),
    "oauth_client_secret": _refused(None, _NO_OAUTH),
    "oauth_scope": _refused(None, _NO_OAUTH),
}


def unknown(name: str, number: int) -> BadUrl:
    """What is said of a parameter that libpq does not know: not its name, which may be a piece of a password."""
    close = get_close_matches(name.lower(), PARAMETERS, n=1, cutoff=0.8)
    hint = f"did you mean {close[0]}?" if close else "a / ? & in a password is written %2F %3F %26"
    return BadUrl(f"the name of parameter {number} behind the ? is none that PostgreSQL's own programs know; {hint}")
