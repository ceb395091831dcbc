"""What `serve` refuses to start with."""

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from landline.app import certificates, production
from landline.app.config import load

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CARRIER = {"kind": "smpp", "name": "north", "host": "smsc.example", "port": 2775, "system_id": "me", "password": "pw"}
Problems = Callable[..., list[str]]


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """What is wrong with settings that are right but for those given."""
    leaf = trustme.CA(organization_name="A real one").issue_cert("sms.example.com", not_after=NOW + timedelta(days=90))
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(tmp_path / "chain.pem", append=True)
    right = {
        "certificate": str(tmp_path / "chain.pem"),
        "certificate_key": str(tmp_path / "key.pem"),
        "sealing_secret": secrets.token_urlsafe(32),
        "carriers": [CARRIER],
    }

    def check(now: datetime = NOW, **settings: object) -> list[str]:
        return production.problems(load("serve", environment={}, flags={**right, **settings}), now)

    return check


def test_right_settings_have_no_problem(problems: Problems) -> None:
    assert problems() == []


@pytest.mark.parametrize("name", ["simulated_carrier", "driven_clock", "open_webhooks", "dev_issuer"])
def test_each_thing_of_dev_is_refused_by_name(name: str, problems: Problems) -> None:
    [problem] = problems(**{name: True})
    assert f"set {name} to false" in problem


def test_a_seed_is_refused(problems: Problems) -> None:
    assert len(problems(seed=1)) == 1


@pytest.mark.parametrize(
    "secret", ["too-short-Zq7", "changeme" * 5, "x" * 40, "please-change-me-before-you-go-live-123"]
)
def test_a_weak_sealing_secret_is_refused(secret: str, problems: Problems) -> None:
    [problem] = problems(sealing_secret=secret)
    assert "openssl rand" in problem
    assert secret not in problem


@pytest.mark.parametrize("token", ["a\u20acb", "a\nb", "a\x7fb", "\u00e9"])
def test_an_admin_token_that_no_header_carries_is_refused(token: str, problems: Problems) -> None:
    [problem] = problems(admin_token=token)
    assert problem.startswith("admin_token has characters")
    assert token not in problem


@pytest.mark.parametrize("token", ["x", "0123456789abcde", "0123456789abcde\n"])
def test_an_admin_token_that_can_be_guessed_is_warned_of(token: str) -> None:
    environment = {"LANDLINE_SMS_COUNTRIES": "US", "LANDLINE_ADMIN_TOKEN": token}
    [warning] = production.warnings(load("serve", environment=environment, flags={"carriers": [CARRIER]}))
    assert "admin_token is shorter than 16 characters" in warning
    environment["LANDLINE_ADMIN_TOKEN"] = "0123456789abcdef" + token
    assert production.warnings(load("serve", environment=environment, flags={"carriers": [CARRIER]})) == []


def test_the_secret_of_dev_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems: Problems) -> None:
    secret = secrets.token_urlsafe(32)
    (tmp_path / "sealing-secret").write_text(secret + "\n")
    monkeypatch.setattr("landline.app.config.default_data", lambda mode: tmp_path)
    assert len(problems(sealing_secret=secret)) == 1


def test_the_secret_may_be_in_a_file_but_not_in_both(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "secret").write_text(secrets.token_urlsafe(32) + "\n")
    assert problems(sealing_secret=None, sealing_secret_file=str(tmp_path / "secret")) == []
    assert len(problems(sealing_secret_file=str(tmp_path / "secret"))) == 1
    assert len(problems(sealing_secret=None, sealing_secret_file=str(tmp_path / "none"))) == 1


def test_a_certificate_of_dev_is_refused(tmp_path: Path, problems: Problems) -> None:
    files = certificates.ensure(tmp_path / "dev", NOW)
    [problem] = problems(certificate=str(files.certificate), certificate_key=str(files.key))
    assert "was made by `landline dev`" in problem


def test_a_certificate_that_has_ended_is_refused(problems: Problems) -> None:
    [problem] = problems(now=NOW + timedelta(days=91))
    assert problem.endswith("ended on 2026-05-30: renew it")


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, problems: Problems) -> None:
    other = certificates.ensure(tmp_path / "other", NOW)
    [problem] = problems(certificate_key=str(other.key))
    assert "do not belong together" in problem


def test_a_key_with_a_pass_phrase_is_refused_and_nobody_asked_for_it(tmp_path: Path, problems: Problems) -> None:
    """OpenSSL asks on the terminal, and a server that took up a renewed key did nothing else meanwhile."""
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.private_bytes(pem, kind, serialization.BestAvailableEncryption(b"a phrase")))
    own = {"certificate_file": str(tmp_path / "chain.pem"), "key_file": str(locked)}
    both = {"nats_certificate": str(tmp_path / "chain.pem"), "nats_certificate_key": str(locked)}
    for settings in (
        {"certificate_key": str(locked)},
        {"carriers": [{**CARRIER, "tls": own}]},
        {**both, "nats_urls": ["tls://nats.example"]},
    ):
        [problem] = problems(**settings)
        assert "the key has a pass phrase" in problem


def test_a_certificate_for_another_domain_is_warned_of(tmp_path: Path) -> None:
    def warned(domain: str, *names: str) -> bool:
        leaf = trustme.CA().issue_cert(*names)
        leaf.cert_chain_pems[0].write_to_path(tmp_path / "leaf.pem")
        settings = {"certificate": str(tmp_path / "leaf.pem"), "domain": domain, "sms_countries": ["US"]}
        found = production.warnings(load("serve", environment={}, flags={**settings, "carriers": [CARRIER]}))
        assert len(found) < 2
        return any(f"leaf.pem is not for {domain}" in each for each in found)

    assert not warned("sms.example.com", "example.net", "SMS.example.com")
    assert not warned("sms.example.com", "*.example.com")
    assert not warned("192.0.2.1", "192.0.2.1")
    assert warned("sms.example.com", "example.com")
    assert warned("sms.example.com", "*.sms.example.com")
    assert warned("a.sms.example.com", "*.example.com")


def test_files_that_are_missing_or_no_certificates_are_refused(tmp_path: Path, problems: Problems) -> None:
    [problem] = problems(certificate=str(tmp_path / "none.pem"))
    assert "correct the setting certificate" in problem
    (tmp_path / "text.pem").write_text("hello")
    assert len(problems(certificate=str(tmp_path / "text.pem"))) == 1


def test_countries_that_are_none_are_refused_by_name(problems: Problems) -> None:
    [problem] = problems(sms_countries=["US", "UK"])
    assert "sms_countries" in problem
    assert "UK" in problem


def test_no_country_is_allowed_and_warned_of(problems: Problems) -> None:
    assert problems(sms_countries=[]) == []
    countries, carriers = production.warnings(load("serve", environment={}))
    assert "every text is refused" in countries
    assert "every text fails" in carriers
    carrier = json.dumps([CARRIER])
    allowed = {"LANDLINE_SMS_COUNTRIES": "US,CA", "LANDLINE_CARRIERS": carrier}
    assert production.warnings(load("serve", environment=allowed)) == []
    assert production.warnings(load("dev", environment={})) == []


def test_serve_guards_and_dev_does_not() -> None:
    dev, serve = load("dev", environment={}), load("serve", environment={})
    assert (dev.sms_countries, dev.sms_guard, dev.acs_limits) == (("*",), False, False)
    assert (serve.sms_countries, serve.sms_guard, serve.acs_limits) == ((), True, False)


def test_a_server_may_do_without_carriers(problems: Problems) -> None:
    assert problems(carriers=[]) == []


def test_what_is_wrong_with_a_carriers_files_is_said(tmp_path: Path, problems: Problems) -> None:
    bare = {name: value for name, value in CARRIER.items() if name != "password"}
    [problem] = problems(carriers=[bare])
    assert "carrier north: password: there is none" in problem
    assert "LANDLINE_CARRIER_NORTH_PASSWORD" in problem
    missing = str(tmp_path / "missing")
    [problem] = problems(carriers=[{**bare, "password_file": missing}])
    assert problem.startswith(f"carrier north: password_file: cannot read {missing}")
    [problem] = problems(carriers=[{**CARRIER, "tls": {"ca_file": missing}}])
    assert problem.startswith("carrier north: tls: ")
    (tmp_path / "password").write_text("secret\n")
    assert problems(carriers=[{**bare, "password_file": str(tmp_path / "password")}]) == []
    (tmp_path / "password").write_text("far too long for SMPP" * 4)
    [problem] = problems(carriers=[{**bare, "password_file": str(tmp_path / "password")}])
    assert "far too long" not in problem


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"relay_peers_allow": ["127.0.0.0/8"]}, "loopback"),
        ({"relay_peers_allow": ["0.0.0.0/0"]}, "loopback"),
        ({"relay_peers_allow": ["::1"]}, "loopback"),
        ({"relay_peers_allow": ["10.0.0.1/8"]}, "relay_peers_allow"),
        ({"relay_urls": ["turn:a.example.com"]}, "relay_secrets"),
        ({"relay_urls": ["https://a.example.com"], "relay_secrets": ["x" * 16]}, "relay_urls"),
        ({"relay_urls": ["turn:a.example.com"], "relay_secrets": ["x" * 15]}, "relay_secrets"),
        ({"relay_urls": ["turn:a.example.com"], "relay_secrets": ["x" * 16], "relay": True}, "not both"),
        ({"relay": True, "relay_first_port": 60000, "relay_last_port": 50000}, "relay_first_port"),
        ({"relay": True, "relay_external_ip": "turn.example.com"}, "relay_external_ip"),
    ],
)
def test_a_relay_that_cannot_be_is_refused(settings: dict[str, object], said: str, problems: Problems) -> None:
    [problem] = problems(**settings)
    assert said in problem


def test_a_relay_for_a_private_network_may_be(problems: Problems) -> None:
    assert problems(relay=True, relay_peers_allow=["10.1.0.0/16"], relay_secrets=["x" * 16]) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nats_urls": ["http://nats.example"]}, "nats_urls takes URLs such as nats://host:4222"),
        ({"nats_urls": ["nats://h"], "nats_prefix": "two words"}, "nats_prefix"),
        ({"nats_urls": ["tls://h"], "nats_ca": "/nowhere/ca.pem"}, "cannot use /nowhere/ca.pem"),
        ({"nats_urls": ["nats://h"], "nats_credentials": "/nowhere/user.creds"}, "cannot read /nowhere/user.creds"),
        ({"nats_urls": ["tls://h"], "nats_certificate": "/nowhere/me.pem"}, "set both or neither"),
        ({"workers": 2, "nats_program": "/nowhere/nats-server"}, "there is no program /nowhere/nats-server here"),
    ],
)
def test_a_bus_that_cannot_be_is_refused(settings: dict[str, object], said: str, problems: Problems) -> None:
    [problem] = problems(**settings)
    assert said in problem


def test_no_program_is_wanted_where_none_is_run(problems: Problems) -> None:
    missing: dict[str, object] = {"nats_program": "/nowhere/nats-server"}
    assert problems(**missing) == []
    assert problems(workers=2, nats_urls=["nats://h"], **missing) == []
