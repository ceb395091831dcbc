"""The command `price`: what carriers charge, set one by one and from files."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
from tests.e2e.test_cli import cli, listed
from tests.e2e.test_cli_settings import cli_reading
from tests.support.patience import PATIENCE_S

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
    cli(landline, "route", "set", "cheap", "simulated", "--choose", "cheapest", "--country", "DE")
    assert [each["choose"] for each in listed(landline, "route", "list")] == ["cheapest"]
    assert "cheapest" in cli(landline, "route", "list")
    cli(landline, "route", "remove", "cheap")
    assert cli(landline, "price", "remove", "simulated", "+49") == "simulated has no price for +49 any more"
    cli(landline, "price", "set", "simulated", "+", "1")
    assert cli(landline, "price", "remove", "simulated") == "simulated has no prices any more"
    assert listed(landline, "price", "list") == []


def test_what_is_wrong_with_a_price_is_said_by_what_was_typed(landline: Server, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("carrier,prefix,price\nsimulated,+1,1\nsimulated,+1x,1\n")
    for said, arguments in (
        ("AMOUNT: Must be a number with a point before its decimals", ("set", "simulated", "+1", "cheap")),
        ("AMOUNT: Must be a number with a point before its decimals", ("set", "simulated", "+1", "0,05")),
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


def counted(server: Server, name: str) -> float:
    with urllib.request.urlopen(server.ready["adminUrl"] + "/metrics", timeout=PATIENCE_S) as answer:
        page = answer.read().decode()
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_what_a_text_costs_is_shown_counted_and_summed_up(landline: Server) -> None:
    before = counted(landline, "landline_sms_cost_total"), counted(landline, "landline_sms_unpriced_total")
    cli(landline, "price", "set", "simulated", "+1", "0.0075")
    sent = cli(landline, "message", "send", "+14255550171", "x" * 161, "--tag", "priced").removeprefix("accepted as ")
    cli(landline, "message", "send", "+447400123456", "for nothing", "--tag", "priced")
    assert "cost: 0.015  currency: USD" in cli(landline, "message", "show", sent)
    told = json.loads(cli(landline, "insights", "--by", "country", "--tag", "priced", "--json"))
    costs = {group["country"]: group.get("cost") for group in told["value"]}
    assert (costs, told["totals"]["cost"], told["currency"]) == ({"US": "0.015", "GB": None}, "0.015", "USD")
    assert "cost" in cli(landline, "insights", "--tag", "priced")
    assert "cost" not in cli(landline, "insights", "--tag", "nobody's")
    cost, unpriced = counted(landline, "landline_sms_cost_total"), counted(landline, "landline_sms_unpriced_total")
    assert (round(cost - before[0], 6), unpriced - before[1]) == (0.015, 1)
    cli(landline, "price", "remove", "simulated")
    cli(landline, "message", "send", "+447400123456", "no prices at all")
    assert counted(landline, "landline_sms_unpriced_total") == unpriced
