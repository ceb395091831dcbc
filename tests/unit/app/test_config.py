"""The configuration: which source wins, what is refused, and that its page is up to date."""

import json
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
        ({"LANDLINE_PORT": "70000"}, "port"),
        ({"LANDLINE_DRIVEN_CLOCK": "perhaps"}, "LANDLINE_DRIVEN_CLOCK"),
        ({"LANDLINE_POSTGRES_SETTINGS": "many"}, "LANDLINE_POSTGRES_SETTINGS"),
        ({"LANDLINE_LOG_LEVEL": "loud"}, "log_level"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(environment: dict[str, str], said: str) -> None:
    with pytest.raises(CannotConfigure, match=said) as refused:
        load("serve", environment=environment)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("text", ["prot = 1", "port = ", 'port = "8443"', 'mode = "dev"'])
def test_a_wrong_file_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(CannotConfigure) as refused:
        load("serve", file=toml(tmp_path, text), environment={})
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "http://127.0.0.1", "hooks.example:8080", "a b", "https://x/y"])
def test_what_is_no_host_and_no_network_is_no_place_for_webhooks(entry: str) -> None:
    with pytest.raises(CannotConfigure, match=r"webhook_allow: .* is no host name, address or network"):
        load("dev", environment={"LANDLINE_WEBHOOK_ALLOW": f"10.1.0.0/16,{entry}"})


def test_hosts_addresses_and_networks_are_places_for_webhooks() -> None:
    entries = ("hooks.example", "10.1.2.3", "10.1.2.3/16", "::1", "[fd00::1]", "fd00::/8")
    assert load("dev", environment={"LANDLINE_WEBHOOK_ALLOW": ",".join(entries)}).webhook_allow == entries


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
