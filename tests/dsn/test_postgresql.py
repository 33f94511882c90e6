"""A URL is completed and checked as by PostgreSQL's own programs: hosts and ports, services, variables, passwords."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import pytest

from worker.dsn import BadUrl, PostgresqlUrl, check_files, parse_url, password_of, place_of_url, secrets_of_url


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parsed(url: str, environ: Mapping[str, str] | None = None) -> PostgresqlUrl:
    read = parse_url(url, {"HOME": str(Path.cwd())} | dict(environ or {}))
    assert isinstance(read, PostgresqlUrl)
    return read


def servers(url: str, environ: Mapping[str, str] | None = None) -> list[tuple[str, str, int]]:
    return [(each.host, each.address, each.port) for each in parsed(url, environ).servers]


def wrong(url: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(BadUrl) as raised:
        check_files(parsed(url, environ))
    return str(raised.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://h/x", [("h", "h", 5432)]),
        ("postgresql:///x", [("", "", 5432)]),
        ("postgresql://a,b:2,[::1]:3/x", [("a", "a", 5432), ("b", "b", 2), ("::1", "::1", 3)]),
        ("postgresql://a,b/x?port=7", [("a", "a", 7), ("b", "b", 7)]),
        ("postgresql://%2Frun%2Fpg:6/x", [("/run/pg", "/run/pg", 6)]),
        ("postgresql:///x?host=/run/pg", [("/run/pg", "/run/pg", 5432)]),
        ("postgresql://name/x?hostaddr=127.0.0.1", [("name", "127.0.0.1", 5432)]),
        ("postgresql:///x?hostaddr=127.0.0.1,::1&port=1,2", [("", "127.0.0.1", 1), ("", "::1", 2)]),
        ("postgresql://,h/x", [("", "", 5432), ("h", "h", 5432)]),
    ],
)
def test_hosts_addresses_and_ports_belong_together_as_in_libpq(url: str, found: object) -> None:
    assert servers(url) == found


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://a,b/x?port=1,2,3", "port must have one port, or as many"),
        ("postgresql://a,b/x?hostaddr=127.0.0.1", "hostaddr must have as many addresses as host has names"),
        ("postgresql://h:0/x", "port must be a number from 1 to 65535"),
        ("postgresql://h:65536/x", "port must be a number"),
        ("postgresql://h:5432x/x", "port must be a number"),
        ("postgresql:///x?host=@abstract", "host must be no abstract socket"),
        ("postgresql://h/x?user=", "user must be given"),
        ("postgresql://h/x?sslrootcert=system&sslmode=require", "sslmode must be verify-full"),
        ("postgresql://h/x?sslnegotiation=direct", "sslnegotiation=direct needs sslmode=require"),
        ("postgresql:///x?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=system", "needs host as well"),
        ("postgresql://h/x?ssl_max_protocol_version=TLSv1.1", "must not be below the lowest version, tlsv1.2"),
        ("postgresql://h/x?sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert=FILE"),
        (
            "postgresql://h/x?sslmode=require&sslrootcert=/none.crt",
            "sslrootcert: /none.crt cannot be read: No such file",
        ),
        ("postgresql://h/x?sslrootcert=/none.crt", "sslrootcert: /none.crt cannot be read: No such file"),
        ("postgresql://h/x?sslmode=require&sslcert=/none.crt&sslkey=/k", "sslcert: /none.crt cannot be read"),
        ("postgresql://h/x?sslcert=/etc/passwd", "sslkey=FILE is needed"),
        ("postgresql://h/x?sslcert=/etc/passwd&sslkey=/etc/group", "are no certificate and its key"),
        ("postgresql://h/x?sslmode=require&sslrootcert=/etc/passwd", "/etc/passwd holds nothing of the kind"),
        ("postgresql://h/x?passfile=/none", "/none: cannot be read: No such file"),
        ("postgresql://h/x?passfile=/dev/null", "/dev/null: is not a regular file"),
        ("postgresql://h/x?service=gone", "service: there is no such service"),
        ("postgresql://h/x?servicefile=/none&service=x", "servicefile: there is no file /none"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_its_name(url: str, said: str) -> None:
    assert said in wrong(url)


def test_a_socket_is_not_encrypted_whatever_is_asked_for() -> None:
    assert parsed("postgresql://%2Frun/x?sslmode=verify-full&sslnegotiation=direct").tls.mode == "disable"


def test_variables_fill_in_what_the_url_leaves_out() -> None:
    variables = {
        "PGHOST": "a,b",
        "PGPORT": "7",
        "PGUSER": "me",
        "PGPASSWORD": "p#w",
        "PGDATABASE": "d",
        "PGOPTIONS": "-c work_mem=5MB",
        "PGAPPNAME": "shop",
        "PGCONNECT_TIMEOUT": "3",
        "PGTARGETSESSIONATTRS": "read-write",
        "PGLOADBALANCEHOSTS": "random",
        "PGREQUIRESSL": "1",
    }
    url = parsed("postgresql://", variables)
    assert [(each.host, each.port) for each in url.servers] == [("a", 7), ("b", 7)]
    assert (url.user, url.password, url.database, url.options) == ("me", "p#w", "d", "-c work_mem=5MB")
    assert (url.application_name, url.connect_timeout, url.target_session_attrs) == ("shop", 3, "read-write")
    assert (url.in_any_order, url.tls.mode) == (True, "require")
    assert servers("postgresql://h:1/x", variables) == [("h", "h", 1)]


def test_without_user_and_name_they_are_the_processes_own() -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    url = parsed("postgresql://h", {"USER": "somebody", "LOGNAME": "else"})
    assert (url.user, url.database) == (me, me)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PGSSLMODE", "bogus", "PGSSLMODE must be one of"),
        ("PGPORT", "x", "PGPORT must be a number"),
        ("PGREQUIREAUTH", "scram-sha-256", "PGREQUIREAUTH is not supported"),
        ("PGCHANNELBINDING", "require", "PGCHANNELBINDING is not supported"),
        ("PGUSER", "\udcff", "PGUSER must be UTF-8"),
        ("PGSERVICE", "gone", "PGSERVICE: there is no such service"),
        ("PGPASSFILE", "/none", "/none: cannot be read"),
        ("PGSSLROOTCERT", "/none", "sslrootcert: /none cannot be read"),
    ],
)
def test_a_variable_that_is_wrong_is_told_by_its_own_name(variable: str, value: str, said: str) -> None:
    assert said in wrong("postgresql:///x?hostaddr=127.0.0.1", {variable: value})


SERVICES = """# ours
[other]
host=wrong

[shop]
  host=db.example
port=6543
password=a=b#c
dbname=first
dbname=second
sslmode=disable
[more]
host=wrong
"""


@pytest.mark.parametrize("named", ["?service=shop", "?service=shop&servicefile=s.conf", ""])
def test_a_service_stands_behind_the_url_and_before_variables(named: str) -> None:
    Path("s.conf").write_text(SERVICES)
    Path(".pg_service.conf").write_text("[shop]\nhost=wrong\n")
    environ = {"PGSERVICEFILE": "s.conf", "PGHOST": "wrong", "PGUSER": "me"} | ({} if named else {"PGSERVICE": "shop"})
    url = parsed(f"postgresql:///mine{named}", environ)
    assert (url.servers[0].host, url.servers[0].port, url.user) == ("db.example", 6543, "me")
    assert (url.password, url.database, url.tls.mode) == ("a=b#c", "mine", "disable")


def test_a_service_is_sought_in_the_users_file_and_then_in_the_systems() -> None:
    Path(".pg_service.conf").write_text("[mine]\nhost=a\n")
    Path("pg_service.conf").write_text("[mine]\nhost=wrong\n[theirs]\nhost=b\n")
    environ = {"PGSYSCONFDIR": "."}
    assert servers("postgresql://?service=mine", environ)[0][0] == "a"
    assert servers("postgresql://?service=theirs", environ)[0][0] == "b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host", "line 2: must be NAME=VALUE"),
        ("hots=x", "line 2: must be NAME=VALUE"),
        ("service=other", "line 2: a service that refers to another place"),
        ("ldap://h/x", "line 2: a service that refers to another place"),
        ("sslmode=bogus", "sslmode in s.conf, line 2, must be one of"),
    ],
)
def test_a_mistake_in_a_service_file_is_told_by_file_and_line(text: str, said: str) -> None:
    Path("s.conf").write_text(f"[shop]\n{text}\n")
    assert said in wrong("postgresql://?service=shop&servicefile=s.conf")


PASSWORDS = """# comment
h:1:x:u:first
h:*:x:u:a\\:b\\\\c  d
*:*:*:star:\\*any:more
/run/pg:5432:x:u:by folder
localhost:5432:x:u:by this machine
a\\:b:5432:x:u:colon
"""


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://u@h:1/x", "first"),
        ("postgresql://u@h/x", "a:b\\c  d"),
        ("postgresql://star@anything:9/y", "*any"),
        ("postgresql://u@%2Frun%2Fpg/x", "by folder"),
        ("postgresql://u@/x", "by this machine"),
        ("postgresql://u@[a:b]/x", "colon"),
        ("postgresql://u@other/x", None),
        ("postgresql://u:given@h/x", "given"),
        ("postgresql://u@h/x?hostaddr=127.0.0.1", "a:b\\c  d"),
    ],
)
def test_a_password_file_is_read_by_libpqs_rules(url: str, password: str | None) -> None:
    file = Path(".pgpass")
    file.write_text(PASSWORDS)
    file.chmod(0o600)
    assert password_of(parsed(url)) == password


def test_a_password_file_that_others_can_read_is_not_used() -> None:
    file = Path("pass")
    file.write_text("h:*:*:*:s3cret\n")
    file.chmod(0o640)
    assert wrong("postgresql://h/x?passfile=pass") == "pass: has the password, and others can read it too: chmod 600 it"
    check_files(parsed("postgresql://other/x?passfile=pass"))


def test_hosts_with_different_passwords_are_refused() -> None:
    file = Path(".pgpass")
    file.write_text("a:*:*:*:one\nb:*:*:*:two\n")
    file.chmod(0o600)
    assert "different passwords" in wrong("postgresql://a,b/x")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:s3#c[ret@h:5432/x?sslmode=disable", "postgresql://h/x"),
        ("postgresql:///x?host=a,b&port=1,2&password=s3cret", "postgresql://a:1,b:2/x"),
        ("postgresql:///x?host=/run/pg&user=u", "postgresql://%2Frun%2Fpg/x"),
        ("postgresql://[::1]:6/a%20b", "postgresql://[::1]:6/a%20b"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_a_place_is_the_servers_and_the_name_alone(url: str, place: str) -> None:
    assert place_of_url(url, {}) == place
    assert place_of_url(place, {}) == place


def test_every_form_of_a_password_is_known_to_be_one() -> None:
    url = "postgresql://u:a#b%20c[@h/x?sslpassword=other"
    assert set(secrets_of_url(url, {})) == {"a#b c[", "a%23b%20c%5B", "other"}
    assert secrets_of_url("postgresql://h/x", {"PGPASSWORD": "s3cret"}) == ("s3cret",)
