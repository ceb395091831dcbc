"""The commands of who looks after traffic: find a message and what became of it, figures, carriers and routes."""

import csv
import json
import re
from datetime import datetime, timedelta

import pytest
from tests.e2e.test_cli import cli, listed

from landline.testing import Server

SENDER = "+18005550100"


def test_a_message_is_sent_found_and_told_step_by_step(landline: Server) -> None:
    phone = "+14255550171"
    handset = landline.handset(phone)
    message = cli(landline, "message", "send", phone, "from the terminal", "--tag", "by-cli").split()[-1]
    assert handset.wait_for_sms().text == "from the terminal"
    cli(landline, "message", "send", phone, "another")
    [found] = listed(landline, "message", "list", "--to", phone, "--tag", "by-cli")
    assert (found["messageId"], found["from"]) == (message, SENDER)
    line = next(each for each in cli(landline, "message", "list", "--to", phone).splitlines() if message in each)
    assert "by-cli" in line
    assert "from the terminal" not in line
    told = cli(landline, "message", "show", message)
    assert [word for word in ("accepted", "queued", "simulated") if word not in told] == []
    assert json.loads(cli(landline, "message", "show", message, "--json"))["messageId"] == message


def test_an_empty_text_is_sent_as_one_as_the_public_wire_has_it(landline: Server) -> None:
    phone = "+14255550169"
    handset = landline.handset(phone)
    message = cli(landline, "message", "send", phone, "").split()[-1]
    assert handset.wait_for_sms().text == ""
    [found] = listed(landline, "message", "list", "--to", phone)
    assert (found["messageId"], found["segments"]) == (message, 1)


def test_a_message_that_waits_for_its_time_is_taken_back(landline: Server) -> None:
    phone = "+14255550172"
    now = datetime.fromisoformat(landline.admin.call("GET", "/clock")["now"])
    at = (now + timedelta(hours=1)).isoformat()
    message = cli(landline, "message", "send", phone, "later", "--at", at).split()[-1]
    assert "to be sent" in cli(landline, "message", "show", message)
    cli(landline, "message", "cancel", message)
    assert "canceled" in cli(landline, "message", "show", message)


def test_what_is_stored_of_a_number_is_erased(landline: Server) -> None:
    phone = "+14255550179"
    handset = landline.handset(phone)
    message = cli(landline, "message", "send", phone, "about you").split()[-1]
    handset.wait_for_sms()
    cli(landline, "handset", "text", phone, "about me")
    with pytest.raises(LookupError):  # the status of what has not done all
        cli(landline, "erase", phone)
    landline.clock.advance(minutes=3)
    told = cli(landline, "erase", phone, "--resource", "local")
    # Other tests' subscriptions may have got the events about them.
    erased = rf"erased: 1 texts to {re.escape(phone)}, 1 from it, \d+ events, 0 that waited for SMPP accounts"
    assert re.fullmatch(erased, told)
    assert listed(landline, "message", "list", "--to", phone) == []
    assert listed(landline, "message", "list", "--incoming", "--from", phone) == []
    with pytest.raises(LookupError, match="MESSAGE-ID: There is no message"):
        cli(landline, "message", "show", message)
    done = json.loads(cli(landline, "erase", phone, "--json"))
    assert done == {"outgoing": 0, "incoming": 0, "events": 0, "waiting": 0, "left": []}


def test_what_a_terminal_cannot_show_is_escaped(landline: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    cli(landline, "message", "send", "+14255550178", "Hi", "--from", SENDER, "--tag", "früh – spät")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert "fr\\xfch \\u2013 sp\\xe4t" in cli(landline, "message", "list", "--to", "+14255550178")


def test_texts_from_phones_are_found(landline: Server) -> None:
    phone = "+14255550173"
    cli(landline, "handset", "text", phone, "hello")
    [found] = listed(landline, "message", "list", "--incoming", "--from", phone)
    assert (found["direction"], found["to"]) == ("incoming", SENDER)
    assert "received" in cli(landline, "message", "show", str(found["messageId"]))


def test_a_list_is_no_longer_than_wanted_and_no_shorter_than_there_is(landline: Server) -> None:
    phones = [f"+1425555018{number}" for number in range(5)]
    for phone in phones:
        cli(landline, "message", "send", phone, "one of five", "--tag", "five")
    assert len(listed(landline, "message", "list", "--tag", "five")) == 5
    assert [each["to"] for each in listed(landline, "message", "list", "--tag", "five", "--limit", "2")] == [
        phones[4],
        phones[3],
    ]


def test_insights_as_a_table_json_and_csv(landline: Server) -> None:
    cli(landline, "message", "send", "+14255550174", "counted", "--tag", "counted")
    shown = cli(landline, "insights", "--by", "tag", "--tag", "counted").splitlines()
    assert [line.split()[:2] for line in shown[1:]] == [["counted", "1"], ["all", "1"]]
    [found] = json.loads(cli(landline, "insights", "--by", "tag", "--tag", "counted", "--json"))["value"]
    assert (found["tag"], found["accepted"]) == ("counted", 1)
    [row] = csv.DictReader(cli(landline, "insights", "--by", "tag", "--tag", "counted", "--csv").splitlines())
    assert (row["tag"], row["accepted"]) == ("counted", "1")


def test_a_tag_in_insights_as_csv_rules_no_terminal(landline: Server) -> None:
    tag = "evil\x1b[2J\x07\nforged"
    cli(landline, "message", "send", "+14255550174", "counted", "--tag", tag)
    said = cli(landline, "insights", "--by", "tag", "--tag", tag, "--csv")
    [row] = csv.DictReader(said.splitlines())
    assert row["tag"] == r"evil\x1b[2J\x07\nforged"


def test_carriers_and_the_way_a_message_would_go(landline: Server) -> None:
    [found] = [each for each in listed(landline, "carrier", "list") if each["name"] == "simulated"]
    assert (found["kind"], found["up"]) == ("simulated", True)
    assert "simulated" in cli(landline, "carrier", "list")
    told = cli(landline, "route", "test", "+14255550175")
    assert "simulated" in told
    assert "may not send" not in told
    told = cli(landline, "route", "test", "+14255550175", "--from", "+18005559999")
    assert "but local has no number +18005559999: it may not send from it" in told
    route = {"carriers": ["simulated"], "prefixes": ["+352"]}
    landline.admin.call("PUT", "/sms/routes/luxembourg", route)
    assert listed(landline, "route", "list")[0]["name"] == "luxembourg"
    assert "luxembourg" in cli(landline, "route", "test", "+352621000000", "--from", SENDER)
    landline.admin.call("DELETE", "/sms/routes/luxembourg")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["message", "show", "nothing"], "MESSAGE-ID: "),
        (["erase", ""], "NUMBER: Must be a phone number"),
        (["erase", "(1) 425 555-0172"], "NUMBER: nothing is stored of (1) 425 555-0172"),
        (["erase", "14255550172"], "phone numbers are written like +14255550172"),
        (["message", "cancel", "nothing"], "MESSAGE-ID: "),
        (["message", "list", "--state", "sent"], "state"),
        (["message", "list", "--since", "yesterday"], "--since: "),
        (["message", "send", "12", "x"], "not a phone number"),
        (["message", "send", "+14255550171", "x", "--at", "2001-01-01T00:00:00Z"], "--at: "),
        (["insights", "--by", "colour"], "--by: "),
        (["insights", "--since", "nonsense"], "landline: --since: "),
        (["insights", "--until", "nonsense"], "landline: --until: "),
        (["insights", "--until", "2001-01-01"], "landline: --until: Days are kept from"),
        (["insights", "--csv", "--until", "2001-01-01"], "landline: --until: Days are kept from"),
        (["insights", "--since", "2001-01-01", "--until", "2001-01-02"], "landline: --since: Days are kept from"),
        (["message", "list", "--until", "1971-01-01"], "landline: --until: Must be"),
        (["insights", "--since", "2026-03-02", "--until", "2026-03-01"], "--since: The range ends before it begins."),
        (["message", "list", "--since", "2026-03-02", "--until", "2026-03-01"], "--since: The range ends before"),
        (["insights", "--csv", "--json"], "--json or --csv"),
        (["message", "send", "+14255550171", "x", "--from", "+18005559999"], "--from: The sender does not belong"),
        (["message", "send", "+14255550171", "x", "--at", "2026-11-22"], "--at: Must be an instant with its offset"),
        (["message", "list", "--limit", "-5"], "--limit must be at least 1"),
        (["subscription", "dead-letters", "none"], "There is no subscription none"),
        (["route", "test", "12"], "TO: "),
        (["route", "test", "+14255550171", "--from", "pool:news"], "--from: Test the senders of a pool"),
    ],
)
def test_refusals_are_one_line(landline: Server, arguments: list[str], said: str) -> None:
    with pytest.raises(LookupError, match=r"^landline: ") as refused:
        cli(landline, *arguments)
    assert said in str(refused.value)
    assert str(refused.value).count("\n") == 1
