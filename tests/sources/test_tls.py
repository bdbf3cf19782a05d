"""TLS fails closed: what cannot be trusted is sent nothing."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.errors import RetryLaterError, UnreachableError
from worker.sources import _connections
from worker.sources._credential import Credential
from worker.sources._http import Session
from worker.sources._refusals import Call

PAGE = b'{"count": 0, "next_page": null, "objects": [], "type": "object_list"}'


def get(upstream: Any) -> bytes:
    talk = Session(upstream.url, Credential("Bearer", "canary"), timeout=5.0, max_answer=1_000_000)
    try:
        return talk.get(Call.LISTING, ("accounts", "1", "")).body
    finally:
        talk.close()


def forget_connections() -> None:
    while _connections._pools:
        _connections._pools.popitem()[1].close()


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[..., Path]:
    """Make a self-signed certificate with its key in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def make(name: str, days: int) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begin = datetime.now(UTC) - timedelta(days=10)
        built = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=10 + days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        path = tmp_path / f"{name}.pem"
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(secret + built.public_bytes(serialization.Encoding.PEM))
        return path

    return make


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Make a certificate one of the machine's own authorities."""
    _connections._tls.cache_clear()
    forget_connections()
    yield lambda path: monkeypatch.setenv("SSL_CERT_FILE", str(path))
    _connections._tls.cache_clear()
    forget_connections()


@pytest.fixture
def tls_upstream(certificate: Callable[..., Path]) -> Iterator[Callable[..., Any]]:
    """Serve PAGE over TLS, once for each connection, with a certificate of that name and age."""
    listeners: list[socket.socket] = []
    asked: list[bytes] = []

    def start(name: str, days: int, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Any:
        path = certificate(name, days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = newest
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        asked.append(connection.recv(65536))
                        head = (
                            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(PAGE)}\r\n\r\n"
                        )
                        connection.sendall(head.encode() + PAGE)
                except OSError:
                    plain.close()

        threading.Thread(target=serve, daemon=True).start()

        class Tls:
            url = f"https://localhost:{listener.getsockname()[1]}/v1"
            certificate = path
            seen = asked

        return Tls

    yield start
    for listener in listeners:
        listener.close()


def test_a_private_authority_that_the_machine_trusts_is_trusted(tls_upstream: Any, trusted: Any) -> None:
    server = tls_upstream("localhost", 10)
    trusted(server.certificate)
    assert get(server) == PAGE


@pytest.mark.fault("U14")
@pytest.mark.parametrize("fault", ["self-signed", "expired", "other name", "TLS 1.1"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_bad_tls_fails_closed_and_nothing_is_sent(tls_upstream: Any, trusted: Any, fault: str) -> None:
    server = {
        "self-signed": lambda: tls_upstream("localhost", 10),
        "expired": lambda: tls_upstream("localhost", -5),
        "other name": lambda: tls_upstream("elsewhere", 10),
        "TLS 1.1": lambda: tls_upstream("localhost", 10, ssl.TLSVersion.TLSv1_1),
    }[fault]()
    if fault != "self-signed":
        trusted(server.certificate)
    with pytest.raises(UnreachableError) as refused:
        get(server)
    assert refused.value.kind == "tls"
    assert isinstance(refused.value, RetryLaterError)
    assert server.seen == []
