"""The TLS context of a connection, by libpq's rules (https://www.postgresql.org/docs/18/libpq-ssl.html)."""

import ssl
from pathlib import Path

from worker.dsn.parameters import BadUrl
from worker.dsn.postgresql import PostgresqlUrl, Tls

_VERSIONS = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}


class _Context(ssl.SSLContext):
    """Asks the server behind an address (`hostaddr`) for the certificate of its name (`host`)."""

    names: dict[str, str]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = self.names.get(str(server_hostname), server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, name, session)


def tls_context(url: PostgresqlUrl) -> ssl.SSLContext:
    """The context for one connection, with its files as they are now; raises `BadUrl` with a file's name."""
    tls = url.tls
    made = _Context(ssl.PROTOCOL_TLS_CLIENT)
    made.names = {each.address: each.host for each in url.servers if each.host}
    made.check_hostname = False  # until there is something to check it by
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = _VERSIONS[tls.lowest]
    if tls.highest is not None:
        made.maximum_version = _VERSIONS[tls.highest]
    made.set_alpn_protocols(["postgresql"])  # direct TLS needs it
    _trust(made, tls)
    if tls.certificate is not None:
        _show_certificate(made, tls, tls.certificate)
    return made


def _trust(made: ssl.SSLContext, tls: Tls) -> None:
    """With a file, `require` verifies by it; without one it takes any certificate, as do the modes below it."""
    if tls.root == "system":
        made.set_default_verify_paths()
    elif tls.root is not None:
        _load(made, tls.root, "sslrootcert")
    elif tls.mode.startswith("verify"):
        raise BadUrl(
            f"sslmode={tls.mode} needs sslrootcert=FILE, or ~/.postgresql/root.crt: the authority to trust; or"
            " sslrootcert=system with sslmode=verify-full"
        )
    else:
        return
    made.verify_mode = ssl.CERT_REQUIRED
    made.check_hostname = tls.mode == "verify-full"
    if tls.revoked is not None:
        _load(made, tls.revoked, "sslcrl")
    if tls.revoked_folder is not None:
        if not Path(tls.revoked_folder).is_dir():
            raise BadUrl(f"sslcrldir: there is no folder {tls.revoked_folder}")
        made.load_verify_locations(capath=tls.revoked_folder)
    if tls.revoked is not None or tls.revoked_folder is not None:
        made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _load(made: ssl.SSLContext, file: str, named: str) -> None:
    try:
        made.load_verify_locations(cafile=file)
    except ssl.SSLError:  # an OSError too, whose text is OpenSSL's own
        raise BadUrl(f"{named}: {file} holds nothing of the kind in PEM form") from None
    except OSError as error:
        raise BadUrl(f"{named}: {file} cannot be read: {error.strerror}") from None


def _show_certificate(made: ssl.SSLContext, tls: Tls, file: str) -> None:
    for named, each in (("sslcert", file), ("sslkey", tls.key)):
        if each is None:
            raise BadUrl(f"sslkey=FILE is needed beside sslcert={file}, or ~/.postgresql/postgresql.key")
        try:
            with Path(each).open("rb"):
                pass
        except OSError as error:
            raise BadUrl(f"{named}: {each} cannot be read: {error.strerror}") from None
    try:
        # Without a password of ours OpenSSL would ask for one on the terminal.
        made.load_cert_chain(file, tls.key, password=tls.password or "")
    except (ssl.SSLError, ValueError):  # ValueError: a password that is too long
        raise BadUrl(
            f"sslcert, sslkey, sslpassword: {file} and {tls.key} are no certificate and its key in PEM form, or the"
            " key needs another password"
        ) from None
