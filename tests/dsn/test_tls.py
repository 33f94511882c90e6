"""A server is trusted by libpq's rules: shown by one that speaks TLS, and tells who came through."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from worker.dsn import BadUrl, PostgresqlUrl, check_files, parse_url
from worker.store.postgresql import connecting

NAME = "db.example"
_NOW = datetime.now(UTC)
_DAY = timedelta(days=1)
_TLS_PLEASE = struct.pack("!I", 80877103)  # https://www.postgresql.org/docs/current/protocol-message-formats.html


class Authority:
    """An authority, and what it has signed."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self.name, self.key.public_key(), x509.BasicConstraints(True, None))

    def issue(self, folder: Path, name: str, password: bytes | None = None) -> x509.Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key.public_key(), x509.SubjectAlternativeName([x509.DNSName(name)]))
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption(),
            )
        )
        return certificate

    def write(self, folder: Path, name: str) -> None:
        (folder / name).write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def revoke(self, folder: Path, name: str, *certificates: x509.Certificate) -> None:
        made = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(_NOW - _DAY)
        made = made.next_update(_NOW + _DAY)
        for each in certificates:
            entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number).revocation_date(_NOW - _DAY)
            made = made.add_revoked_certificate(entry.build())
        (folder / name).write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        made = made.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        return made.not_valid_before(_NOW - _DAY).not_valid_after(_NOW + _DAY).sign(self.key, hashes.SHA256())


class Server:
    """Speaks TLS as PostgreSQL does, and refuses whoever comes through in a way of its own."""

    def __init__(self, folder: Path, root: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / f"{NAME}.crt", folder / f"{NAME}.key")
        self._context.load_verify_locations(folder / root)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.sni_callback = lambda _socket, name, _context: self.asked_for.append(name)
        self.asked_for: list[str | None] = []
        self.shown: list[str] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (await reader.readexactly(8))[4:] != _TLS_PLEASE:
                return  # once more without it, since `prefer` does without
            writer.write(b"S")
            await writer.start_tls(self._context)
            (size,) = struct.unpack("!I", await reader.readexactly(4))
            await reader.readexactly(size - 4)
            peer = writer.get_extra_info("peercert") or {}
            self.shown += [value for part in peer.get("subject", ()) for _, value in part]
            body = b"SFATAL\0C28P01\0Mthrough\0\0"
            writer.write(b"E" + struct.pack("!I", len(body) + 4) + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours and another authority, the server's certificate, a client's, and lists of what is revoked."""
    folder, ours = tmp_path_factory.mktemp("tls"), Authority("ours")
    ours.write(folder, "ours.crt")
    Authority("others").write(folder, "others.crt")
    server = ours.issue(folder, NAME)
    ours.issue(folder, "client", b"p#ss")
    ours.revoke(folder, "none.crl")
    ours.revoke(folder, "server.crl", server)
    return folder


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[Server]:
    server = Server(folder, "ours.crt")
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


async def came_through(server: Server, folder: Path, parameters: str, host: str = NAME) -> bool:
    url = f"postgresql://u@{host}:{server.port}/x?hostaddr=127.0.0.1&{parameters.format(folder)}"
    parsed = parse_url(url, {"HOME": str(folder / "nobody")})
    assert isinstance(parsed, PostgresqlUrl)
    check_files(parsed)
    try:
        await asyncpg.connect(**connecting(parsed))
    except asyncpg.InvalidPasswordError as error:
        return "through" in str(error)
    except ssl.SSLError:
        return False
    raise AssertionError("connected")


@pytest.mark.parametrize(
    ("parameters", "host", "trusted"),
    [
        ("sslmode=require", NAME, True),
        ("sslmode=require", "other.example", True),
        ("sslmode=require&sslrootcert={}/ours.crt", "other.example", True),
        ("sslmode=require&sslrootcert={}/others.crt", NAME, False),
        ("sslmode=verify-ca&sslrootcert={}/ours.crt", "other.example", True),
        ("sslmode=verify-ca&sslrootcert={}/others.crt", NAME, False),
        ("sslmode=verify-full&sslrootcert={}/ours.crt", NAME, True),
        ("sslmode=verify-full&sslrootcert={}/ours.crt", "other.example", False),
        ("sslmode=verify-full&sslrootcert=system", NAME, False),
        ("sslmode=verify-full&sslrootcert={0}/ours.crt&sslcrl={0}/none.crl", NAME, True),
        ("sslmode=verify-full&sslrootcert={0}/ours.crt&sslcrl={0}/server.crl", NAME, False),
        ("sslmode=prefer", NAME, True),
        ("ssl_min_protocol_version=TLSv1.3&sslmode=require", NAME, True),
    ],
)
async def test_a_server_is_trusted_by_libpqs_rules(
    server: Server, folder: Path, parameters: str, host: str, trusted: bool
) -> None:
    assert await came_through(server, folder, parameters, host) is trusted
    if "sslmode=prefer" not in parameters:  # there the driver itself connects to the address
        assert server.asked_for[0] == host


@pytest.mark.parametrize("mode", ["require", "prefer"])
async def test_a_certificate_is_shown_whose_key_needs_a_password(server: Server, folder: Path, mode: str) -> None:
    files = "sslcert={0}/client.crt&sslkey={0}/client.key&sslmode=" + mode
    assert await came_through(server, folder, f"{files}&sslpassword=p%23ss")
    assert server.shown == ["client"]
    with pytest.raises(BadUrl, match="sslpassword"):
        await came_through(server, folder, f"{files}&sslpassword=wrong")


async def test_the_users_own_authority_makes_require_verify(server: Server, folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql/root.crt").write_bytes((folder / "others.crt").read_bytes())
    url = f"postgresql://u@127.0.0.1:{server.port}/x?sslmode=require"
    parsed = parse_url(url, {"HOME": str(tmp_path)})
    assert isinstance(parsed, PostgresqlUrl)
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncpg.connect(**connecting(parsed))
