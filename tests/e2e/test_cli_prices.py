"""The command `price`: what carriers charge, set one by one and from files."""

import json
from pathlib import Path

import pytest
from tests.e2e.test_cli import cli, listed
from tests.e2e.test_cli_settings import cli_reading

from landline.testing import Server


def test_prices_are_set_imported_listed_and_removed(landline: Server, tmp_path: Path) -> None:
    assert cli(landline, "price", "set", "simulated", "+", "0.05") == "simulated to +: 0.05 USD a segment"
    assert cli(landline, "price", "set", "simulated", "1", "7.5e-3") == "simulated to +1: 0.0075 USD a segment"
    file = tmp_path / "prices.csv"
    file.write_text("\ufeffprefix,price\n+44,0.04\n+49,0.07\n")
    assert cli(landline, "price", "import", str(file), "--carrier", "simulated") == "prices set: 2"
    found = listed(landline, "price", "list")
    assert [(each["prefix"], each["price"]) for each in found] == [
        ("+", "0.05"), ("+1", "0.0075"), ("+44", "0.04"), ("+49", "0.07")
    ]  # fmt: skip
    assert "0.0075" in cli(landline, "price", "list", "--carrier", "simulated", "--limit", "2")
    assert len(listed(landline, "price", "list", "--limit", "2")) == 2
    text = "carrier,prefix,price\nsimulated,+49,0.06\n"
    assert cli_reading(landline, text, "price", "import", "-", "--replace") == "prices set: 1, removed: 3\n"
    tested = json.loads(cli(landline, "route", "test", "+4915112345678", "--json"))
    assert [each["price"] for each in tested["carriers"]] == ["0.06"]
    assert cli(landline, "price", "remove", "simulated", "+49") == "simulated has no price for +49 any more"
    cli(landline, "price", "set", "simulated", "+", "1")
    assert cli(landline, "price", "remove", "simulated") == "simulated has no prices any more"
    assert listed(landline, "price", "list") == []


def test_what_is_wrong_with_a_price_is_said_by_what_was_typed(landline: Server, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("carrier,prefix,price\nsimulated,+1,1\nsimulated,+1x,1\n")
    for said, arguments in (
        ("AMOUNT: ", ("set", "simulated", "+1", "cheap")),
        ("PREFIX: ", ("set", "simulated", "+1x", "1")),
        ("CARRIER: There is no carrier 'west'", ("set", "west", "+1", "1")),
        ("CARRIER: The carrier west has no prices", ("remove", "west")),
        (f"{file}: Nothing was changed. line 3: prefix: ", ("import", str(file))),
        ("--carrier: ", ("import", str(file), "--carrier", "simulated")),
        ("--limit", ("list", "--limit", "0")),
    ):
        with pytest.raises(LookupError, match=said.replace(".", r"\.").replace("+", r"\+")):
            cli(landline, "price", *arguments)
    assert listed(landline, "price", "list") == []
