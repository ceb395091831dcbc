"""Carriers and routes as the configuration has them: every field reaches the engine, and each mistake is named."""

import json
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from landline.app import carriers, cli_doctor, config_reference
from landline.app.carrier_settings import SmppTable, TlsTable
from landline.app.config import CannotConfigure, Config, load
from landline.core.phone import SenderKind
from landline.engines.smpp.config import Binding, MessageIds, SmppConfig, Tls
from landline.ports.sms_carrier import CrashPolicy
from landline.protocols.smpp.texts import Alphabet, LongStyle
from landline.services.sms.model.routing import Choice, Rule

NORTH = """
[[carriers]]
kind = "smpp"
name = "north"
host = "smsc.example"
port = 2775
system_id = "landline"
"""
SOUTH = NORTH.replace("north", "south").replace("smsc.example", "10.0.0.5")


def configured(directory: Path, text: str, mode: Any = "dev", **environment: str) -> Config:
    file = directory / "landline.toml"
    file.write_text(text)
    return load(mode, file=file, environment=environment)


def test_every_field_of_the_engine_can_be_set_and_has_its_default() -> None:
    engine = {field.name: field for field in fields(SmppConfig)}
    tables = {field.name: field for field in msgspec.structs.fields(SmppTable)}
    assert engine.keys() <= tables.keys()
    assert {field.name for field in fields(Tls)} == {field.name for field in msgspec.structs.fields(TlsTable)}
    table = SmppTable(kind="smpp", name="n", host="h", port=1, system_id="s")
    for name, field in engine.items():
        if name == "error_codes":
            assert table.error_codes == {}
        elif name == "crash_policy":
            assert CrashPolicy(table.crash_policy) is field.default
        elif field.default is not MISSING:
            assert getattr(table, name) == field.default, name


def test_a_carrier_with_everything_reaches_the_engine(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "north").write_text("s3cret\n")
    text = (
        NORTH
        + """
password_file = "secrets/north"
system_type = "ESME"
binding = "pair"
binds = 3
window = 7
rate_per_s = 25
carrier_rate_per_s = 60.5
crash_policy = "unknown"
source_ton = 5
plus_sign = true
country = "GB"
alphabet = "latin1"
default_alphabet = "ucs2"
validity_s = 3600
long_style = "sar"
message_ids = "dec-hex"
receipt_utc_offset_minutes = -330
error_codes = { "034" = 4006 }
trace = true
[carriers.tls]
ca_file = "tls/ca.pem"
server_name = "smpp.example"
"""
    )
    settings = configured(tmp_path, text)
    assert carriers.smpp_config(settings.carriers[0]) == SmppConfig(
        "north",
        "smsc.example",
        2775,
        "landline",
        "s3cret",
        system_type="ESME",
        binding=Binding.PAIR,
        binds=3,
        tls=Tls(ca_file=str(tmp_path / "tls" / "ca.pem"), server_name="smpp.example"),
        window=7,
        source_ton=5,
        plus_sign=True,
        country="GB",
        alphabet=Alphabet.LATIN1,
        default_alphabet=Alphabet.UCS2,
        validity_s=3600,
        long_style=LongStyle.SAR,
        message_ids=MessageIds.DEC_HEX,
        rate_per_s=25,
        receipt_utc_offset_minutes=-330,
        error_codes={"034": 4006},
        crash_policy=CrashPolicy.UNKNOWN,
        trace=True,
    )
    assert carriers.carrier_rates(settings) == {"north": 60.5}


def test_carriers_come_from_the_environment_as_json_with_their_passwords(tmp_path: Path) -> None:
    tables = tomllib.loads(NORTH.replace('"north"', '"north-1.eu"') + SOUTH)["carriers"]
    environment = {
        "LANDLINE_CARRIERS": json.dumps(tables),
        "LANDLINE_ROUTES": json.dumps([{"name": "all", "carriers": ["south"]}]),
        "LANDLINE_CARRIER_NORTH_1_EU_PASSWORD": "one",
        "LANDLINE_CARRIER_SOUTH_PASSWORD": "two",
    }
    settings = load("serve", environment=environment)
    found = {name: carriers.smpp_config(table).password for name, table in zip("ns", settings.carriers, strict=True)}
    assert found == {"n": "one", "s": "two"}
    assert [rule.name for rule in carriers.rules(settings)] == ["all"]


def test_the_environments_password_wins_over_the_files(tmp_path: Path) -> None:
    text = NORTH + 'password_file = "nowhere"\n'
    settings = configured(tmp_path, text, LANDLINE_CARRIER_NORTH_PASSWORD="one")
    assert carriers.smpp_config(settings.carriers[0]).password == "one"
    assert "'one'" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NORTH.replace("smpp", "ucp"), "carrier north: kind: "),
        (NORTH.replace("2775", '"2775"'), "carrier north: port: "),
        (NORTH.replace("2775", "0"), "carrier north: port: "),
        (NORTH.replace("smsc.example", "smpp://smsc.example"), "carrier north: host: "),
        (NORTH.replace("smsc.example", "smsc.example:2775"), "carrier north: host: .* `port`"),
        (NORTH.replace("smsc.example", "[2001:db8::1]"), "carrier north: host: .* without brackets"),
        (NORTH.replace('host = "smsc.example"\n', ""), "carrier north: .*`host`"),
        (NORTH.replace("host", "hots"), "carrier north: .*`hots`"),
        (NORTH.replace('"north"', '"no rth"'), "carrier no rth: name: "),
        (NORTH.replace('"north"', '"simulated"'), "carrier simulated: name: "),
        (NORTH.replace('name = "north"\n', ""), "carrier 1: .*`name`"),
        (NORTH + 'binding = "twice"', "carrier north: binding: "),
        (NORTH + 'crash_policy = "repeatable"', "carrier north: crash_policy: "),
        (NORTH + 'country = "UK"', "carrier north: country: "),
        (NORTH + "binds = 0", "carrier north: binds: "),
        (NORTH + "window = 0", "carrier north: window: "),
        (NORTH + "response_s = 0", "carrier north: response_s: "),
        (NORTH + "rate_per_s = -1", "carrier north: rate_per_s: "),
        (NORTH + "validity_s = inf", "carrier north: validity_s: "),
        (NORTH + f'password = "{"ten chars " * 7}"', "carrier north: password: "),
        (NORTH + 'password = "one"\npassword_file = "two"', "carrier north: password: "),
        (NORTH + 'system_type = "much too long a type"', "carrier north: system_type: "),
        (NORTH + 'tls = { ca = "x" }', "carrier north: tls: .*`ca`"),
        (NORTH + "[carriers.error_codes]\n034 = 'x'", r"carrier north: error_codes\[...\]: "),
        (NORTH + 'error_codes = { "034" = 4066 }', "carrier north: error_codes: 4066"),
        (NORTH + 'error_codes = { "000" = 2000 }', "carrier north: error_codes: 2000"),
        (NORTH + NORTH, "carrier NORTH: name: "),
        (NORTH + NORTH.replace('"north"', '"North"'), "carrier NORTH: name: "),
        ("carriers = 5", "carriers must be tables"),
        ("carriers = [5]", "carrier 1: "),
        (NORTH + '[[routes]]\nname = "r"\ncarriers = ["west"]', "route r: carriers: .*'west'"),
        (NORTH + '[[routes]]\nname = "r"\ncarriers = []', "route r: carriers: "),
        (NORTH + '[[routes]]\nname = "r"\ncarriers = ["north"]\nprefixs = ["+1"]', "route r: .*`prefixs`"),
        (NORTH + '[[routes]]\nname = "r"\ncarriers = ["north"]\ncountries = ["UK"]', "route r: countries: "),
        (NORTH + 2 * '[[routes]]\nname = "r"\ncarriers = ["north"]\n', "route r: name: "),
        (NORTH + "workers = 4", r"workers is below \[\[carriers\]\] .* goes above the first table"),
        (NORTH + "[carriers.tls]\nsms_countries = []", r"sms_countries is below \[carriers.tls\] "),
        (NORTH + '[[routes]]\nname = "r"\ncarriers = ["north"]\nport = 1', r"port is below \[\[routes\]\] "),
        ("[sender_rates]\ntollFree = 3\nworkers = 4", r"workers is below \[sender_rates\] "),
        ("[sender_rates]\ntollFree = 0", "sender_rates"),
        ("[sender_rates]\nmobile = 1", "sender_rates"),
    ],
)
def test_a_mistake_is_said_in_one_line_with_its_carrier_and_field(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CannotConfigure, match=said) as refused:
        configured(tmp_path, text)
    assert "\n" not in refused.value.message
    assert "nine chars" not in refused.value.message


@pytest.mark.parametrize("host", ["2001:db8::1", "fe80::1%eth0", "::ffff:192.0.2.1", "192.0.2.1", "smsc"])
def test_a_carrier_is_at_a_name_or_an_address(host: str, tmp_path: Path) -> None:
    [carrier] = configured(tmp_path, NORTH.replace("smsc.example", host)).carriers
    assert carrier.host == host


def test_a_password_for_no_carrier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotConfigure, match="LANDLINE_CARRIER_NROTH_PASSWORD"):
        configured(tmp_path, NORTH, LANDLINE_CARRIER_NROTH_PASSWORD="one")
    with pytest.raises(CannotConfigure, match="LANDLINE_CARRIERS must be a JSON array"):
        load("dev", environment={"LANDLINE_CARRIERS": "north"})


def test_rules_come_with_weights_and_may_name_the_simulated_carrier_where_there_is_one(tmp_path: Path) -> None:
    text = (
        NORTH
        + """
[[routes]]
name = "america"
priority = 5
countries = ["US", "CA"]
prefixes = ["+1"]
senders = ["SHOP"]
tags = ["otp"]
resources = ["shop"]
failover = false
choose = "cheapest"
carriers = ["simulated", { carrier = "north", weight = 3 }]
"""
    )
    assert carriers.rules(configured(tmp_path, text)) == [
        Rule(
            name="america",
            priority=5,
            countries=("US", "CA"),
            prefixes=("+1",),
            senders=("SHOP",),
            tags=("otp",),
            resources=("shop",),
            failover=False,
            choose="cheapest",
            carriers=(Choice("simulated"), Choice("north", 3)),
        )
    ]
    with pytest.raises(CannotConfigure, match="'simulated'"):
        configured(tmp_path, text, "serve")


def test_beside_the_simulated_carrier_a_real_one_is_no_default(tmp_path: Path) -> None:
    assert carriers.default_carriers(configured(tmp_path, NORTH + SOUTH)) == ("simulated",)
    assert carriers.default_carriers(configured(tmp_path, NORTH + SOUTH, "serve")) == ("north", "south")


def test_rates_of_senders_are_by_kind(tmp_path: Path) -> None:
    text = "[sender_rates]\ntollFree = 3.3\nshortCode = 100\n"
    found = carriers.sender_rates(configured(tmp_path, text))
    assert found == {SenderKind.TOLL_FREE: 3.3, SenderKind.SHORT_CODE: 100.0}


def test_the_guides_configuration_is_right(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "carriers.md").read_text("utf-8")
    text = guide.partition("```toml\n")[2].partition("```")[0]
    for name in ("north", "south"):
        (tmp_path / f"{name}.password").write_text("secret")
    settings = configured(tmp_path, text, "serve")
    assert carriers.problems(settings) == []
    assert [rule.name for rule in carriers.rules(settings)] == ["codes", "europe"]
    assert carriers.carrier_rates(settings) == {"north": 100}


def test_the_configurations_page_has_every_field_of_the_tables() -> None:
    page = config_reference.document()
    for name in [*SmppTable.__struct_fields__, *(f"tls.{name}" for name in TlsTable.__struct_fields__), "priority"]:
        assert f"| `{name}` |" in page


def test_a_carrier_with_an_empty_file_of_its_password_is_warned_of(tmp_path: Path) -> None:
    config = configured(tmp_path, NORTH + 'password_file = "password"\n')
    assert carriers.warnings(config) == [], "that there is none is a problem"
    (tmp_path / "password").write_text("\n")
    (warning,) = carriers.warnings(config)
    assert warning.startswith(f"carrier north: password_file: {tmp_path / 'password'} is empty: ")
    (tmp_path / "password").write_text("secret\n")
    assert carriers.warnings(config) == []


def test_a_carrier_whose_password_is_longer_than_smpps_is_warned_of_without_showing_it(tmp_path: Path) -> None:
    (warning,) = carriers.warnings(configured(tmp_path, NORTH + 'password = "secret-twice"\n'))
    assert warning.startswith("carrier north: password: it has 12 characters, where SMPP has 8.")
    assert "secret" not in warning
    assert carriers.warnings(configured(tmp_path, NORTH + 'password = "secret-1"\n')) == []


def test_a_carrier_that_is_asked_for_no_receipts_is_warned_of(tmp_path: Path) -> None:
    asks_for_none = NORTH + 'password = "x"\nregistered_delivery = 16\n'
    (warning,) = carriers.warnings(configured(tmp_path, asks_for_none))
    assert "carrier north: registered_delivery = 16 asks for no receipts" in warning
    assert carriers.warnings(configured(tmp_path, asks_for_none + 'crash_policy = "query"\n')) == []
    assert carriers.warnings(configured(tmp_path, NORTH + 'password = "x"\n')) == []
    assert notes(tmp_path) == []
    configured(tmp_path, asks_for_none)
    assert notes(tmp_path) == [warning]


def notes(directory: Path) -> list[str]:
    found = cli_doctor.check("dev", directory / "landline.toml", directory, 0)
    return [finding.detail for finding in found if finding.check == "note"]
