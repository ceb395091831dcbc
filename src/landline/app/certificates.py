"""Certificates in files: what they say of themselves, and the making of those of `dev`: an authority of its own, leaves
for localhost, and a bundle for clients to trust. Those a process serves with: `served_certificates`."""

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from landline.app.config import Config
from landline.app.secrets import put
from landline.edge.server import tls_context

AUTHORITY_NAME = "Landline dev authority"
_NAMES = ("localhost", "*.localhost", "127.0.0.1", "::1")
_LIFE = timedelta(days=825)  # the longest that Apple's clients take: support.apple.com/103769
RENEWED_BEFORE = timedelta(days=30)
_MOST_NAMES = 1000
_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian and kin
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora and kin
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


@dataclass(frozen=True, slots=True)
class DevCertificates:
    """Files in PEM. `bundle` holds the system's authorities and ours: clients' variables replace what they trust."""

    certificate: Path
    key: Path
    authority: Path
    authority_key: Path
    bundle: Path


def ensure(directory: Path, now: datetime) -> DevCertificates:
    """The certificates in `directory`, made when there are none; the leaf is renewed 30 days before its end.

    A new authority would mean that clients must load the bundle again, so it has no end. Private keys are 0600.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = DevCertificates(
        directory / "certificate.pem",
        directory / "key.pem",
        directory / "authority.pem",
        directory / "authority-key.pem",
        directory / "bundle.pem",
    )
    if not (_lasts(files.authority, now) and files.authority_key.exists()):
        _make_authority(files)
        files.certificate.unlink(missing_ok=True)
    if not (_lasts(files.certificate, now) and files.key.exists()):
        key, chain = _issue(files, _NAMES, now)
        put(files.key, key, 0o600)
        put(files.certificate, chain, 0o644)
    put(files.bundle, system_authorities() + files.authority.read_bytes(), 0o644)
    return files


class DevContexts:
    """TLS with the leaf in `files`, and for `<resource>.localhost` with one of that very name, made when it is asked
    for: OpenSSL and Node.js both refuse a wildcard right below a top-level name."""

    def __init__(self, files: DevCertificates) -> None:
        """Raises `CannotListen`."""
        self._files = files
        self._any = tls_context(files.certificate, files.key)
        self._by_name: dict[str, ssl.SSLContext] = {}

    def of(self, name: str | None) -> ssl.SSLContext:
        """What a client is shown that asks for `name`."""
        if name is None or not name.endswith(".localhost") or name.count(".") != 1:
            return self._any
        if name not in self._by_name and len(self._by_name) < _MOST_NAMES:
            self._by_name[name] = _context_for(self._files, name)
        return self._by_name.get(name, self._any)


@dataclass(frozen=True, slots=True)
class Life:
    """How long a certificate counts."""

    begins: datetime
    ends: datetime

    @property
    def to_be_renewed_at(self) -> datetime:
        """From when on its end is near: 30 days before it, or a quarter of its life where that is shorter. Who renews a
        certificate of 90 days 30 days before its end, as ACME clients do, is not to be told each time."""
        return self.ends - min(RENEWED_BEFORE, (self.ends - self.begins) / 4)


def shown_to_others(config: Config) -> dict[str, Path]:
    """The files of those that this side shows as a client, by whom they are for."""
    found = {
        f"carrier:{table.name}": table.tls.certificate_file
        for table in config.carriers
        if table.tls is not None and table.tls.certificate_file is not None
    }
    return found | ({"nats": config.nats_certificate} if config.nats_certificate is not None else {})


def system_authorities() -> bytes:
    """The authorities the machine trusts, or else those of certifi, or none. What SSL_CERT_FILE says does not count: it
    may well name our own bundle."""
    spec = find_spec("certifi")
    installed = [Path(place) / "cacert.pem" for place in (spec and spec.submodule_search_locations) or []]
    for place in [Path(ssl.get_default_verify_paths().openssl_cafile), *map(Path, _SYSTEM), *installed]:
        if place.is_file():
            return place.read_bytes().rstrip() + b"\n"
    return b""


def issuer(certificate: Path) -> str:
    """The organisation that issued a certificate, or nothing. Raises `ValueError` when the file is no certificate."""
    names = _load(certificate).issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(names[0].value) if names else ""


def ends(certificate: Path) -> datetime:
    """When a certificate ends. Raises `ValueError` when the file is no certificate, `OSError`."""
    return life(certificate).ends


def life(certificate: Path) -> Life:
    """From when to when a certificate counts. Raises as `ends`."""
    loaded = _load(certificate)
    return Life(loaded.not_valid_before_utc, loaded.not_valid_after_utc)


def is_for(certificate: Path, host: str) -> bool:
    """Whether clients take a certificate for that of `host`, a name in lower case or an address (RFC 6125 §6.4). Raises
    as `ends`."""
    try:
        found = _load(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False  # the common name has not counted for years
    names = {name.lower() for name in found.get_values_for_type(x509.DNSName)}
    names |= {str(address) for address in found.get_values_for_type(x509.IPAddress)}
    return host in names or f"*.{host.partition('.')[2]}" in names


def _load(certificate: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.read_bytes())


def _lasts(certificate: Path, now: datetime) -> bool:
    try:
        return ends(certificate) > now + RENEWED_BEFORE
    except (OSError, ValueError):
        return False


def _make_authority(files: DevCertificates) -> None:
    import trustme  # slow to import, and needed once

    authority = trustme.CA(organization_name=AUTHORITY_NAME, organization_unit_name="for this machine only")
    put(files.authority_key, authority.private_key_pem.bytes(), 0o600)
    put(files.authority, authority.cert_pem.bytes(), 0o644)


def _issue(files: DevCertificates, names: tuple[str, ...], now: datetime) -> tuple[bytes, bytes]:
    """The private key and the chain of a new leaf."""
    import trustme  # see above

    authority = trustme.CA.from_pem(files.authority.read_bytes(), files.authority_key.read_bytes())
    # A day early: the clocks of virtual machines and containers differ.
    leaf = authority.issue_cert(*names, not_before=now - timedelta(days=1), not_after=now - timedelta(days=1) + _LIFE)
    return leaf.private_key_pem.bytes(), b"".join(blob.bytes() for blob in leaf.cert_chain_pems)


def _context_for(files: DevCertificates, name: str) -> ssl.SSLContext:
    key, chain = _issue(files, (name,), datetime.now(UTC))
    with tempfile.TemporaryDirectory() as place:  # a context loads from files only
        put(Path(place) / "key", key, 0o600)
        put(Path(place) / "chain", chain, 0o600)
        return tls_context(Path(place) / "chain", Path(place) / "key")
