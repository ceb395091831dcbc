"""The commands of what texts go by: SMPP accounts, sender pools, a resource's settings, keywords, numbers for sale."""

import json
import stat
import subprocess
from pathlib import Path

import pytest
from tests.e2e.test_cli import cli, listed
from tests.e2e.test_cli_messages import SENDER

from landline.testing import Server
from landline.testing.server import COMMAND


def cli_reading(server: Server, text: str, *arguments: str) -> str:
    """What the command prints that is given `text` on its standard input."""
    command = [*COMMAND, *arguments, "--data", str(server.data)]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=True).stdout


def test_an_smpp_account_is_made_changed_and_removed_and_its_password_only_written_to_a_file(
    landline: Server, tmp_path: Path
) -> None:
    secret, second = tmp_path / "secret", tmp_path / "second"
    made = cli(
        landline, "smpp-account", "create", "shop", "--password-file", str(secret),
        "--address", "203.0.113.0/24", "--texts", "*", "--rate-per-s", "200",
    )  # fmt: skip
    password = secret.read_text().strip()
    assert (len(password), stat.S_IMODE(secret.stat().st_mode)) == (8, 0o600)
    assert password not in made
    [found] = listed(landline, "smpp-account", "list")
    assert (found["systemId"], found["addresses"], found["texts"], found["ratePerS"]) == (
        "shop", ["203.0.113.0/24"], ["*"], 200.0,
    )  # fmt: skip
    assert "203.0.113.0/24" in cli(landline, "smpp-account", "list")
    assert cli(landline, "smpp-account", "change", "shop", "--no-enabled", "--no-address", "--unlimited") == (
        "shop is changed, and disabled"
    )
    assert cli(landline, "smpp-account", "change", "shop", "--enabled") == "shop is enabled"
    assert cli(landline, "smpp-account", "change", "shop", "--no-enabled") == "shop is disabled"
    shown = json.loads(cli(landline, "smpp-account", "show", "shop", "--json"))
    assert (shown["enabled"], shown["addresses"], shown["ratePerS"], shown["texts"]) == (False, [], None, ["*"])
    with pytest.raises(LookupError, match="is there already"):
        cli(landline, "smpp-account", "rotate", "shop", "--password-file", str(secret))
    cli(landline, "smpp-account", "rotate", "shop", "--password-file", str(second))
    assert second.read_text().strip() not in ("", password)
    command = [*COMMAND, "smpp-account", "rotate", "shop", "--password-file", "-", "--data", str(landline.data)]
    rotated = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert len(rotated.stdout.strip()) == 8  # nothing else: a program reads it
    assert rotated.stderr.strip() == "the new password of shop is above"
    cli(landline, "smpp-account", "remove", "shop")
    assert listed(landline, "smpp-account", "list") == []


def test_an_account_that_is_refused_leaves_no_password_file(landline: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with pytest.raises(LookupError, match="--address: "):
        cli(landline, "smpp-account", "create", "x", "--password-file", str(secret), "--address", "nowhere")
    assert not secret.exists()


def test_a_pool_is_set_listed_and_removed(landline: Server) -> None:
    assert cli(landline, "pool", "set", "news", SENDER) == "send from pool:news"
    assert listed(landline, "pool", "list")[0]["senders"] == [SENDER]
    cli(landline, "pool", "set", "news", SENDER, "--no-sticky")
    assert json.loads(cli(landline, "pool", "show", "news", "--json"))["sticky"] is False
    assert cli(landline, "message", "send", "+14255550161", "from a pool", "--from", "pool:news").startswith("accepted")
    cli(landline, "pool", "remove", "news")
    assert listed(landline, "pool", "list") == []


def test_settings_of_a_resource_are_changed_by_name_set_from_a_file_and_shown(landline: Server, tmp_path: Path) -> None:
    cli(landline, "resource", "create", "settled")
    changes = ["allowedCountries=lu, us", "caps.perDay=20000", "caps.unit=segments", "sequential.enabled=true"]
    changes.append("messagingConnectPartners=infobip, sinch")
    told = json.loads(cli(landline, "settings", "change", *changes, "--resource", "settled"))
    assert (told["allowedCountries"], told["sequential"]["enabled"]) == (["LU", "US"], True)
    assert told["messagingConnectPartners"] == ["infobip", "sinch"]
    assert (told["caps"]["perDay"], told["caps"]["unit"]) == (20000, "segments")
    told = json.loads(cli(landline, "settings", "change", "caps.perDay=null", "--resource", "settled"))
    assert (told["caps"]["perDay"], told["caps"]["unit"]) == (None, "segments")
    file = tmp_path / "settings.json"
    file.write_text('{"caps": {"perMonth": 5}}')
    told = json.loads(cli(landline, "settings", "set", str(file), "--resource", "settled"))
    assert (told["caps"]["perMonth"], told["caps"]["unit"], told["allowedCountries"]) == (5, "messages", ["*"])
    assert json.loads(cli(landline, "settings", "show", "--resource", "settled", "--json")) == told
    assert json.loads(cli_reading(landline, "{}", "settings", "set", "-", "--resource", "settled"))["caps"] == {
        "perDay": None, "perMonth": None, "unit": "messages", "spendPerDay": None, "spendPerMonth": None,
    }  # fmt: skip
    changes = ["caps.spendPerDay=12.50", "caps.spendPerMonth=123456789012.123457"]
    told = json.loads(cli(landline, "settings", "change", *changes, "--resource", "settled"))["caps"]
    assert (told["spendPerDay"], told["spendPerMonth"]) == ("12.5", "123456789012.123457")
    file.write_text('{"caps": {"spendPerMonth": 123456789012.123457}}')
    told = json.loads(cli(landline, "settings", "set", str(file), "--resource", "settled"))["caps"]
    assert (told["spendPerDay"], told["spendPerMonth"]) == (None, "123456789012.123457")


def test_a_number_answers_in_other_languages_and_to_keywords_of_a_file(landline: Server, tmp_path: Path) -> None:
    cli(landline, "keywords", "set", SENDER, "--language", "fr", "--language", "en")
    found = listed(landline, "keywords", "show", SENDER)
    assert [each["language"] for each in found] == ["fr", "en"]
    assert "ARRET" in cli(landline, "keywords", "show", SENDER)
    file = tmp_path / "keywords.json"
    file.write_text(json.dumps([{**found[1], "stopReply": "Bye."}]))
    cli(landline, "keywords", "set", SENDER, "--file", str(file))
    assert "Bye." in cli(landline, "keywords", "show", SENDER)
    cli(landline, "keywords", "reset", SENDER)
    assert [each["language"] for each in listed(landline, "keywords", "show", SENDER)] == ["en"]


def test_numbers_are_put_up_for_sale_listed_and_taken_off(landline: Server, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("number,cost\n+12065550100,0.80\n")
    assert cli(landline, "stock", "import", str(file)) == "put up for sale: 1"
    assert cli_reading(landline, file.read_text(), "stock", "import", "-") == (
        "put up for sale: 0, 1 were for sale already\n"
    )
    added = cli(landline, "stock", "add-range", "+18335550100", "+18335550249", "carrier=simulated")
    assert added == "put up for sale: 150"
    found = listed(landline, "stock", "list")
    assert len(found) == 151  # more than a page
    assert (found[0]["number"], found[0]["cost"], found[1]["carrier"]) == ("+12065550100", 0.8, "simulated")
    assert len(listed(landline, "stock", "list", "--limit", "2")) == 2
    assert "+12065550100" in cli(landline, "stock", "list")
    for each in found:
        landline.admin.call("DELETE", f"/numbers/stock/{each['number']}") if each is not found[0] else None
    cli(landline, "stock", "remove", "+12065550100")
    assert listed(landline, "stock", "list") == []


def test_a_route_is_set_and_removed(landline: Server) -> None:
    cli(landline, "route", "set", "alps", "simulated:3", "--country", "CH", "--country", "AT", "--priority", "50")
    [found] = [each for each in listed(landline, "route", "list") if each["name"] == "alps"]
    assert (found["carriers"], found["countries"]) == ([{"carrier": "simulated", "weight": 3}], ["CH", "AT"])
    assert (found["priority"], found["failover"]) == (50, True)
    assert " yes " in cli(landline, "route", "list")
    cli(landline, "route", "remove", "alps")
    assert "alps" not in {each["name"] for each in listed(landline, "route", "list")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smpp-account", "create", "shop"], "--password-file"),
        (["smpp-account", "create", "a b", "--password-file", "-"], "SYSTEM-ID: "),
        (["smpp-account", "create", "x", "--password-file", "/nowhere/x"], "cannot make /nowhere/x"),
        (["smpp-account", "change", "none"], "say what to change"),
        (["smpp-account", "change", "none", "--binds", "3"], "no such SMPP account"),
        (["smpp-account", "change", "none", "--rate-per-s", "3", "--unlimited"], "--rate-per-s or --unlimited"),
        (["pool", "set", "No Name", SENDER], "NAME: "),
        (["pool", "set", "news"], "SENDERS: "),
        (["pool", "set", "news", "+18005559999"], "SENDERS: "),
        (["pool", "show", "none"], "no sender pool"),
        (["settings", "change"], "say what to change"),
        (["settings", "change", "caps"], "caps is not name=value"),
        (["settings", "change", "caps.perDay=few"], "caps.perDay: "),
        (["settings", "change", "caps=1", "caps.perDay=2"], "caps is given a value of its own already"),
        (["settings", "change", "caps.perDay=1", "caps.perDay=2"], "caps.perDay is given twice"),
        (["settings", "change", "allowedCountries=XX"], "allowedCountries: "),
        (["settings", "set", "/nowhere"], "cannot read /nowhere"),
        (["settings", "show", "--resource", "nowhere"], "nowhere"),
        (["keywords", "set", SENDER], "--language or --file"),
        (["keywords", "set", SENDER, "--language", "xx"], "--language: "),
        (["keywords", "show", "+18005559999"], "NUMBER: "),
        (["stock", "import", "/nowhere"], "cannot read /nowhere"),
        (["stock", "add-range", "+18335550100", "+1"], "LAST: "),
        (["stock", "add-range", "+18335550100", "+18335550101", "colour=red"], "VALUES: "),
        (["stock", "remove", "+18335550100"], "NUMBER: "),
        (["stock", "list", "--limit", "0"], "--limit"),
        (["route", "set", "x", "nobody"], "CARRIERS: "),
        (["route", "set", "x", "simulated:many"], "simulated:many is not"),
        (["route", "set", "x"], "CARRIERS"),
        (["route", "remove", "none"], "NAME: "),
    ],
)
def test_refusals_are_one_line(landline: Server, arguments: list[str], said: str) -> None:
    with pytest.raises(LookupError, match=r"^landline: ") as refused:
        cli(landline, *arguments)
    assert said in str(refused.value)
    assert str(refused.value).count("\n") == 1


def test_a_campaign_is_halted_listed_and_goes_on(landline: Server) -> None:
    assert cli(landline, "campaign", "halt", "spring sale") == "spring sale is halted"
    assert listed(landline, "campaign", "list") == [{"tag": "spring sale"}]
    assert cli(landline, "campaign", "resume", "spring sale") == "spring sale goes on"
    assert listed(landline, "campaign", "list") == []
