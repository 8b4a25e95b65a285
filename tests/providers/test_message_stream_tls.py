"""Messages are read in bulk through TLS, too, and what waits below it is seen."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers.http import HttpPool
from providers.websocket import WebSocketOpener
from tests.providers.frame_streams import FIN, PING, as_frame, text
from tests.providers.servers import loopback_dialler, tcp_server
from tests.providers.test_message_stream import (
    GOODBYE,
    PieceServer,
    endpoint_of,
    read_to_the_end,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the key and the certificate of 127.0.0.1, signed by itself."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.NameAttribute(NameOID.COMMON_NAME, "x"),
    )
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([name]))
        .issuer_name(x509.Name([name]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return str(path)


async def test_frames_come_through_tls_and_a_backlog_below_it_is_seen(certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    sent = [b"%d" % number for number in range(20_000)]
    frames = b"".join(map(text, sent))
    server = PieceServer([frames, as_frame(FIN | PING, b"?"), GOODBYE])

    async def serve(stream: trio.SocketStream) -> None:
        await server.serve(trio.SSLStream(stream, context, server_side=True))

    async with tcp_server(serve) as port, HttpPool(loopback_dialler(), ca_file=certificate) as http:
        opener = WebSocketOpener(http, endpoint_of(port, "wss"))
        with trio.fail_after(30):
            async with opener.open() as connection:
                while not connection.behind_seconds():  # noqa: ASYNC110 the system has no event
                    await trio.sleep(0.01)
                assert await read_to_the_end(connection) == (sent, 4000)
                assert connection.behind_seconds() == 0
