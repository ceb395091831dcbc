"""Which certificates are taken from carriers and NATS servers."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from landline.core.errors import Refusal
from landline.engines.nats.settings import Settings, server
from landline.engines.smpp.config import Tls


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """What `openssl x509 -req -CA` makes when it is told no more than the name: no certificate names its signer's key.
    The server's certificate and key are beside it."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = named("A carrier's own"), named("smsc.example")
    root = unsigned(root_name, root_name, root_key).add_extension(x509.BasicConstraints(True, None), True)
    names = x509.SubjectAlternativeName([x509.DNSName("smsc.example")])
    leaf = unsigned(name, root_name, key).add_extension(names, False)
    pem = serialization.Encoding.PEM
    (tmp_path / "ca.pem").write_bytes(root.sign(root_key, hashes.SHA256()).public_bytes(pem))
    (tmp_path / "chain.pem").write_bytes(leaf.sign(root_key, hashes.SHA256()).public_bytes(pem))
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, kind, plain))
    return tmp_path / "ca.pem"


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def unsigned(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1)
    )


def of_a_carrier(authority: Path) -> ssl.SSLContext:
    return Tls(ca_file=str(authority)).context()


def of_nats(authority: Path) -> ssl.SSLContext:
    return Settings(servers=(server("tls://smsc.example"),), authority=authority).tls()


def shake_hands(client: ssl.SSLContext, served: ssl.SSLContext, name: str) -> None:
    """Both sides in memory. Raises what the client says of the certificate."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(back, there, server_hostname=name), served.wrap_bio(there, back, server_side=True)]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)


@pytest.mark.parametrize("made", [of_a_carrier, of_nats])
def test_a_private_authoritys_certificate_is_taken_with_each_python(
    made: Callable[[Path], ssl.SSLContext], authority: Path
) -> None:
    """From 3.13 on Python's own default refuses it: Missing Authority Key Identifier."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(authority.with_name("chain.pem"), authority.with_name("key.pem"))
    shake_hands(made(authority), served, "smsc.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="match"):
        shake_hands(made(authority), served, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake_hands(Tls().context(), served, "smsc.example")


@pytest.mark.parametrize("made", [of_a_carrier, of_nats])
def test_a_file_is_read_anew_once_it_has_changed_and_not_before(
    made: Callable[[Path], ssl.SSLContext], authority: Path
) -> None:
    """Who is out of reach is tried again each second or two, and a context takes time and memory."""
    before = made(authority)
    assert made(authority) is before
    authority.write_bytes(authority.read_bytes() * 2)
    renewed = made(authority)
    assert renewed is not before
    authority.write_text("nothing of use")
    with pytest.raises(Refusal, match="cannot use"):
        made(authority)
