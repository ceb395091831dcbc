"""The configuration: which source wins, what is refused, and that its page is up to date."""

import json
import re
from pathlib import Path

import pytest

from landline.app import config, config_reference
from landline.app.config import CannotConfigure, load


def toml(directory: Path, text: str) -> Path:
    file = directory / "landline.toml"
    file.write_text(text)
    return file


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path) -> None:
    file = toml(tmp_path, 'port = 1\nadmin_port = 1\nlog_level = "error"\n')
    environment = {"LANDLINE_PORT": "2", "LANDLINE_ADMIN_PORT": "2", "HOME": "/nowhere"}
    settings = load("dev", file=file, environment=environment, flags={"port": 3, "admin_port": None})
    assert (settings.port, settings.admin_port, settings.log_level, settings.domain) == (3, 2, "error", "localhost")


@pytest.mark.parametrize(
    ("flags", "own", "shops"),
    [
        ({}, "localhost:8443", "shop.localhost:8443"),
        ({"domain": "acs.example.com", "public_port": 443}, "acs.example.com", "shop.acs.example.com"),
        ({"port": 443}, "localhost", "shop.localhost"),
        ({"domain": "SMS.Example.com.", "port": 443}, "sms.example.com", "shop.sms.example.com"),
        ({"domain": "Bücher.example"}, "xn--bcher-kva.example:8443", "shop.xn--bcher-kva.example:8443"),
        ({"domain": "[::1]"}, "[::1]:8443", "shop.[::1]:8443"),
        ({"port": 443, "public_port": 8443}, "localhost:8443", "shop.localhost:8443"),
    ],
)
def test_endpoints_do_not_name_the_port_of_https(flags: dict[str, object], own: str, shops: str) -> None:
    settings = load("dev", environment={}, flags=flags)
    assert (settings.authority(), settings.authority("shop")) == (own, shops)


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "https://a.example",
        "a.example/",
        "a.example:8443",
        "a b",
        "a\x01b",
        "::1",
        "ü" * 80,
        "a\u0301\u200d.example",
    ],
)
def test_a_domain_that_is_no_host_name_is_refused(domain: str) -> None:
    with pytest.raises(CannotConfigure, match=r"LANDLINE_DOMAIN: .* is no host name"):
        load("dev", environment={"LANDLINE_DOMAIN": domain})


@pytest.mark.parametrize(
    "origin",
    ["app.example", "https://app.example/", "https://App.example", "https://app.example:443", "https://*.example", ""],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(CannotConfigure, match=r"LANDLINE_CORS_ORIGINS: '.*' is no origin as browsers send it"):
        load("dev", environment={"LANDLINE_CORS_ORIGINS": json.dumps(["https://b.example", origin])})


def test_origins_that_browsers_send_are_taken() -> None:
    sent = ("*", "null", "http://localhost:3000", "http://[::1]:8080", "capacitor://localhost", "https://a.example:444")
    assert load("serve", environment={}, flags={"cors_origins": list(sent)}).cors_origins == sent


def test_dev_and_serve_differ_in_what_is_switched_on() -> None:
    dev, serve = load("dev", environment={}), load("serve", environment={})
    for name in ("simulated_carrier", "driven_clock", "open_webhooks", "dev_issuer"):
        assert getattr(dev, name) is True
        assert getattr(serve, name) is False


def test_the_environment_can_say_everything_a_file_can() -> None:
    environment = {
        "LANDLINE_CORS_ORIGINS": "https://a.example, https://b.example",
        "LANDLINE_POSTGRES_SETTINGS": json.dumps({"shared_buffers": "1GB"}),
        "LANDLINE_DRIVEN_CLOCK": "False",
        "LANDLINE_SEED": "-7",
    }
    settings = load("dev", environment=environment)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.postgres_settings == {"shared_buffers": "1GB"}
    assert settings.driven_clock is False
    assert settings.seed == -7


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LANDLINE_PORTS": "1"}, "LANDLINE_PORTS"),
        ({"LANDLINE_MODE": "dev"}, "LANDLINE_MODE"),
        ({"LANDLINE_PORT": "https"}, "LANDLINE_PORT"),
        ({"LANDLINE_PORT": "70000"}, "LANDLINE_PORT: "),
        ({"LANDLINE_PORT": "\udcff"}, "LANDLINE_PORT is not UTF-8"),
        ({"LANDLINE_DATA": ""}, "LANDLINE_DATA: "),
        ({"LANDLINE_CARRIERS": "{bad"}, "LANDLINE_CARRIERS must be"),
        ({"LANDLINE_CARRIERS": "[" * 100_000}, "LANDLINE_CARRIERS must be"),
        ({"LANDLINE_CARRIERS": "{}"}, "LANDLINE_CARRIERS: "),
        ({"LANDLINE_CARRIERS": '[{"name": "x"}]'}, "LANDLINE_CARRIERS: carrier x: "),
        ({"LANDLINE_SENDER_RATES": '{"tollFree": 0}'}, "LANDLINE_SENDER_RATES: "),
        ({"LANDLINE_DRIVEN_CLOCK": "perhaps"}, "LANDLINE_DRIVEN_CLOCK"),
        ({"LANDLINE_POSTGRES_SETTINGS": "many"}, "LANDLINE_POSTGRES_SETTINGS"),
        ({"LANDLINE_LOG_LEVEL": "loud"}, "LANDLINE_LOG_LEVEL: "),
    ],
)
def test_a_wrong_variable_is_refused_by_name(environment: dict[str, str], said: str) -> None:
    with pytest.raises(CannotConfigure, match=said) as refused:
        load("serve", environment=environment)
    assert "\n" not in refused.value.message


_NORTH = '[[carriers]]\nname = "north"\nkind = "smpp"\nhost = "smsc"\nport = 2775\nsystem_id = "x"\npassword = "p"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", " has the setting prot"),
        ("port = ", " is not TOML: "),
        ('port = "8443"', ": port: "),
        ("port = 70000", ": port: "),
        ("port = 1\nport = 2", " is not TOML: "),
        ('mode = "dev"', " has the setting mode"),
        ("data = 3", ": data: "),
        ('certificate = ""', ": certificate: "),
        ('log_level = "loud"', ": log_level: "),
        ("[sender_rates]\ntollFree = 0", ": sender_rates: "),
        ("webhook_allow = ['http://x']", ": webhook_allow: "),
        (f"{_NORTH}windw = 3", ": carrier north: .*`windw`"),
        (f"{_NORTH}window = 0", ": carrier north: window: "),
        (_NORTH + _NORTH, ": carrier NORTH: name: there are two"),
        ("[carriers]\nname = 'x'", ": carriers must be tables"),
        (f"{_NORTH}[[routes]]\nname = 'a'\ncarriers = ['south']", ": route a: carriers: "),
        ("a = " + "[" * 3000, " is not TOML: "),
        ("port = " + "9" * 5000, " is not TOML: "),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it_and_the_setting(
    text: str, said: str, tmp_path: Path
) -> None:
    file = toml(tmp_path, text)
    with pytest.raises(CannotConfigure, match=f"^{re.escape(str(file))}{said}") as refused:
        load("serve", file=file, environment={})
    assert "\n" not in refused.value.message


def test_a_country_that_there_is_none_of_is_refused_in_dev_too() -> None:
    with pytest.raises(CannotConfigure, match=r"^LANDLINE_SMS_COUNTRIES: .*XX"):
        load("dev", environment={"LANDLINE_SMS_COUNTRIES": "US,XX"})


def test_a_wrong_flag_is_refused_by_its_name() -> None:
    with pytest.raises(CannotConfigure, match=r"^--admin-port: "):
        load("dev", environment={}, flags={"admin_port": 70000})


def test_a_file_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does(tmp_path: Path) -> None:
    file = tmp_path / "landline.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 9000\r\nworkers = 2\r\n")
    settings = load("serve", file=file, environment={})
    assert (settings.port, settings.workers) == (9000, 2)


@pytest.mark.parametrize("octets", ["port = 8443".encode("utf-16"), 'domain = "früh"'.encode("latin-1")])
def test_a_file_in_another_encoding_is_refused(octets: bytes, tmp_path: Path) -> None:
    file = tmp_path / "landline.toml"
    file.write_bytes(octets)
    with pytest.raises(CannotConfigure, match="it is not UTF-8"):
        load("serve", file=file, environment={})


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "http://127.0.0.1", "hooks.example:8080", "a b", "https://x/y"])
def test_what_is_no_host_and_no_network_is_no_place_for_webhooks(entry: str) -> None:
    with pytest.raises(CannotConfigure, match=r"^LANDLINE_WEBHOOK_ALLOW: .* is no host name, address or network"):
        load("dev", environment={"LANDLINE_WEBHOOK_ALLOW": f"10.1.0.0/16,{entry}"})


def test_hosts_addresses_and_networks_are_places_for_webhooks() -> None:
    entries = ("hooks.example", "10.1.2.3", "10.1.2.3/16", "::1", "[fd00::1]", "fd00::/8")
    assert load("dev", environment={"LANDLINE_WEBHOOK_ALLOW": ",".join(entries)}).webhook_allow == entries


@pytest.mark.parametrize(
    "url", ["login.example.com", "http://login.example.com", "https://", "https://a b", "https://a?b"]
)
def test_an_issuer_whose_keys_cannot_be_fetched_is_refused_before_the_start(url: str) -> None:
    with pytest.raises(CannotConfigure, match=r"^LANDLINE_OIDC_ISSUER: .* is no issuer: give its https URL"):
        load("serve", environment={"LANDLINE_OIDC_ISSUER": url})


@pytest.mark.parametrize("url", ["https://login.example.com", "https://127.0.0.1:8443/a/b/", "https://[::1]:8443/x"])
def test_an_issuer_is_an_https_url(url: str) -> None:
    assert load("serve", environment={"LANDLINE_OIDC_ISSUER": url}).oidc_issuer == url


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotConfigure, match="cannot read"):
        load("serve", file=tmp_path / "none.toml", environment={})


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    settings = load("serve", file=toml(tmp_path, 'data = "kept"\ncertificate = "tls/chain.pem"'), environment={})
    assert settings.data == tmp_path / "kept"
    assert settings.certificate == tmp_path / "tls" / "chain.pem"


def test_every_setting_is_described() -> None:
    page = config_reference.document()
    assert all(f"## {name}\n" in page for name in config.fields() if name != "mode")


def test_a_user_without_a_home_is_told_to_name_a_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 2**31 - 9)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 9)
    with pytest.raises(CannotConfigure, match=r"name one with --data or LANDLINE_DATA, or set HOME: ~/\.local"):
        load("dev", environment={})
    with pytest.raises(CannotConfigure, match=r"^--ready-file: ~/x is in a home directory"):
        load("dev", environment={}, flags={"data": str(tmp_path), "ready_file": "~/x"})
    assert load("dev", environment={}, flags={"data": str(tmp_path)}).data == tmp_path


@pytest.mark.parametrize("name", ["a\0b", "a\udcff"])
def test_a_path_that_cannot_be_told_is_refused(name: str) -> None:
    with pytest.raises(CannotConfigure, match=r"^--data: expected a path in UTF-8$"):
        load("dev", environment={}, flags={"data": f"/tmp/{name}"})
