"""The certificates of dev: who trusts them for which names, how long they last, who may read their keys."""

import os
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from landline.app import certificates
from landline.app.certificates import DevCertificates
from landline.app.config import load
from landline.app.served_certificates import Served

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def shaken(files: DevCertificates, name: str) -> str | None:
    """The TLS version that a client, trusting the bundle alone, agrees on with our context for `name`."""
    near, far = socket.socketpair()
    server = threading.Thread(target=lambda: _serve(files, far))
    server.start()
    try:
        context = ssl.create_default_context(cafile=str(files.bundle))
        with context.wrap_socket(near, server_hostname=name) as client:
            return client.version()
    finally:
        near.close()
        server.join()


def _serve(files: DevCertificates, far: socket.socket) -> None:
    try:
        config = load("dev", environment={}, flags={"data": str(files.bundle.parent.parent)})
        Served(config).context.wrap_socket(far, server_side=True).close()
    except (ssl.SSLError, OSError):
        far.close()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "shop.localhost", "my-shop-2.localhost"])
def test_clients_that_trust_the_bundle_connect_by_each_name(name: str, tmp_path: Path) -> None:
    assert shaken(certificates.ensure(tmp_path / "certificates", datetime.now(UTC)), name) == "TLSv1.3"


@pytest.mark.parametrize("key", ["key.pem", "authority-key.pem"])
@pytest.mark.parametrize("link", [False, True])
def test_what_others_put_where_a_key_is_written_first_gets_nothing_of_it(
    tmp_path: Path, key: str, *, link: bool
) -> None:
    """As with the other secrets: the data directory may be one that is there, and a process's id is no secret."""
    theirs, directory = tmp_path / "theirs", tmp_path / "certificates"
    directory.mkdir()
    waiting = directory / f".{key}.{os.getpid()}"
    if link:
        theirs.write_text("")
        waiting.symlink_to(theirs)
    else:
        waiting.write_text("")
        theirs.hardlink_to(waiting)
    certificates.ensure(directory, NOW)
    assert theirs.read_text() == ""
    assert ((directory / key).is_symlink(), (directory / key).stat().st_mode & 0o777) == (False, 0o600)
    assert not waiting.exists()


@pytest.mark.parametrize("name", ["landline.example", "a.b.localhost"])
def test_no_other_name_is_vouched_for(name: str, tmp_path: Path) -> None:
    files = certificates.ensure(tmp_path / "certificates", datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(files, name)


def test_they_stay_until_near_their_end_and_the_authority_outlives_them(tmp_path: Path) -> None:
    first = certificates.ensure(tmp_path, NOW)
    leaf, authority = first.certificate.read_bytes(), first.authority.read_bytes()
    certificates.ensure(tmp_path, NOW + timedelta(days=700))
    assert first.certificate.read_bytes() == leaf
    certificates.ensure(tmp_path, NOW + timedelta(days=800))
    assert first.certificate.read_bytes() != leaf
    assert first.authority.read_bytes() == authority
    assert certificates.ends(first.certificate) > NOW + timedelta(days=1600)


def test_a_lost_authority_is_made_anew_with_its_leaf(tmp_path: Path) -> None:
    files = certificates.ensure(tmp_path / "certificates", datetime.now(UTC))
    files.authority_key.unlink()
    certificates.ensure(tmp_path / "certificates", datetime.now(UTC))
    assert shaken(files, "localhost") == "TLSv1.3"


def test_private_keys_are_ours_alone(tmp_path: Path) -> None:
    files = certificates.ensure(tmp_path, NOW)
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert files.authority_key.stat().st_mode & 0o777 == 0o600


def test_the_bundle_keeps_the_systems_authorities_and_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificates.ensure(tmp_path, NOW)
    bundle = files.bundle.read_bytes()
    assert bundle.startswith(certificates.system_authorities())
    monkeypatch.setenv("SSL_CERT_FILE", str(files.bundle))  # as `dev` tells its user to
    certificates.ensure(tmp_path, NOW)
    assert files.bundle.read_bytes() == bundle
