"""The commands that ask a running server, and the README's own example."""

import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.signed import Raw

from landline.app import cli_subscription
from landline.app.cli import main
from landline.testing import Inbox, Server
from landline.testing.server import COMMAND

README = Path(__file__).parents[2] / "README.md"
NEW_HOOK = ["subscription", "add", "--name", "hook", "--endpoint", "https://hooks.example/"]


def cli(server: Server, *arguments: str) -> str:
    """What the command prints about `server`. Raises with what it says instead."""
    command = [*COMMAND, *arguments, "--data", str(server.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise LookupError(done.stderr)
    return done.stdout.strip()


def printed(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def listed(server: Server, *arguments: str) -> list[dict[str, object]]:
    return json.loads(cli(server, *arguments, "--json"))


def shown(command: list[str], columns: int) -> str:
    """What the command prints in a terminal so many columns wide, without colours."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, stdout=terminal)
    os.close(terminal)
    found = b""
    try:
        while read := os.read(ours, 65536):
            found += read
    except OSError:  # its end, on Linux
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", found.decode()).replace("\r\n", "\n")


def test_the_readmes_example_is_short_and_its_text_arrives_on_the_handset(landline: Server) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len(example.splitlines()) < 20
    env = {
        **os.environ,
        "COMMUNICATION_SERVICES_CONNECTION_STRING": landline.connection_string,
        "REQUESTS_CA_BUNDLE": landline.ca_bundle,
    }
    handset = landline.handset("+14255550199")
    sent = subprocess.run([sys.executable, "-c", example], env=env, capture_output=True, text=True, check=True)
    assert "202" in sent.stdout
    assert handset.wait_for_sms().text == "Hello from Landline"
    inbox = listed(landline, "handset", "inbox", "+14255550199")
    assert inbox[-1]["text"] == "Hello from Landline"


def test_a_resource_is_created_listed_and_its_key_rotated(landline: Server) -> None:
    first = cli(landline, "resource", "create", "shop")
    assert "https://shop.localhost:" in first
    assert {"local", "shop"} <= {resource["name"] for resource in listed(landline, "resource", "list")}
    assert cli(landline, "resource", "keys", "shop").splitlines()[0] == first
    second = cli(landline, "resource", "rotate", "shop")
    assert second != first
    assert cli(landline, "resource", "keys", "shop").splitlines()[0] == second


def test_a_name_that_this_machine_does_not_know_is_told_beside_the_connection_string(landline: Server) -> None:
    command = [*COMMAND, "resource", "create", "stall", "--data", str(landline.data)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert made.stdout.startswith("endpoint=https://stall.localhost:")
    assert made.stdout.count("\n") == 1
    try:
        socket.getaddrinfo("stall.localhost", None)
        told = ""
    except OSError:
        told = "127.0.0.1 stall.localhost to /etc/hosts\n"
    assert made.stderr.endswith(told)
    assert bool(made.stderr) == bool(told)


def test_what_the_server_does_not_serve_is_told_as_that(landline: Server) -> None:
    elsewhere = f"{landline.ready['adminUrl']}/elsewhere"
    with pytest.raises(LookupError, match="elsewhere does not serve this: its admin URL is another one, or it does"):
        cli(landline, "handset", "inbox", "+14255550123", "--admin-url", elsewhere, "--admin-token", "x")


def test_a_number_is_added_listed_and_removed(landline: Server) -> None:
    cli(landline, "number", "add", "+18005550111")
    assert "+18005550111" in {number["number"] for number in listed(landline, "number", "list")}
    assert "+18005550111" in cli(landline, "number", "list")
    cli(landline, "number", "remove", "+18005550111")
    assert "+18005550111" not in {number["number"] for number in listed(landline, "number", "list")}


def test_a_handset_texts_a_number(landline: Server) -> None:
    handset = landline.handset("+14255550187")
    cli(landline, "handset", "text", "+14255550187", "STOP")
    assert "unsubscribed" in handset.wait_for_sms().text


def test_a_handset_texts_the_toll_free_number_also_when_the_shells_variables_name_the_server(
    landline: Server,
) -> None:
    handset = landline.handset("+14255550186")
    lines = printed([*COMMAND, "env", "--data", str(landline.data)])
    texts = [*COMMAND, "handset", "text", "+14255550186", "STOP"]
    said = printed(["sh", "-c", lines + '\nexec "$@"', "sh", *texts])
    assert said == f"sent from +14255550186 to {landline.phone_number}\n"
    assert "unsubscribed" in handset.wait_for_sms().text


@pytest.mark.parametrize("columns", [40, 80, 300])
def test_a_terminal_without_room_shows_a_list_whole(landline: Server, columns: int) -> None:
    sent = cli(landline, "message", "send", "+14255550191", "Hello", "--tag", "a tag in words").split()[-1]
    lines = shown([*COMMAND, "message", "list", "--to", "+14255550191", "--data", str(landline.data)], columns)
    assert all(line == line.rstrip() for line in lines.splitlines()), "blanks would fill lines of their own"
    assert sum(sent in line for line in lines.splitlines()) == 1
    assert {"+14255550191", "a tag in words"} <= set(re.split(r"  +|\n|: ", lines))
    assert columns != 80 or max(map(len, lines.splitlines())) <= 80


def test_sentences_are_folded_where_the_terminal_has_room_for_the_rest(landline: Server) -> None:
    lines = shown([*COMMAND, "keywords", "show", landline.phone_number, "--data", str(landline.data)], 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) > 4


def test_a_text_is_listed_as_it_is(landline: Server) -> None:
    """Into a pipe on one line; and it has no emoji but its own."""
    text = ("see :warning: [b]here[/b] " + "at-" * 600).strip()
    handset = landline.handset("+14255550192")
    cli(landline, "message", "send", "+14255550192", text)
    handset.wait_for_sms()
    [_, line] = cli(landline, "handset", "inbox", "+14255550192").splitlines()
    assert line.endswith(text)


def test_a_number_is_bound_to_a_carrier(landline: Server) -> None:
    assert "through carrier simulated" in cli(landline, "number", "add", "+18005550112", "--carrier", "simulated")
    assert "simulated" in cli(landline, "number", "list").split("+18005550112")[1].splitlines()[0]
    with pytest.raises(LookupError, match="carrier"):
        cli(landline, "number", "add", "+18005550113", "--carrier", "nobody")
    cli(landline, "number", "remove", "+18005550112")


def test_the_list_of_webhooks_says_which_get_events_and_why_the_others_do_not(landline: Server) -> None:
    with closing(landline.inbox()) as inbox:
        cli(landline, "subscription", "add", "--name", "answers", "--endpoint", inbox.url)
        with pytest.raises(LookupError, match="gets no events"):
            cli(landline, "subscription", "add", "--name", "dead", "--endpoint", "http://127.0.0.1:1/events")
        answers, dead = (
            next(line for line in cli(landline, "subscription", "list").splitlines() if line.split()[0] == name)
            for name in ("answers", "dead")
        )
        assert "enabled" in answers
        assert "failed" in dead
        assert "could not be asked" in dead
        for name in ("answers", "dead"):
            cli(landline, "subscription", "remove", name)


def test_a_webhook_has_from_the_command_line_what_the_admin_api_has_for_it(landline: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret-of-the-webhook\n")
    added = ["--name", "full", "--endpoint", "http://127.0.0.1:1/events", "--no-validation", "--ttl-minutes", "60"]
    added += ["--event-type", "SMSReceived", "--event-type", "Microsoft.Communication.SMSDeliveryReportReceived"]
    added += ["--subject-begins-with", "/phonenumber/1", "--case-sensitive", "--max-delivery-attempts", "3"]
    added += ["--header", "x-shop: one: two", "--secret-header", f"authorization: @{secret}"]
    added += ["--signature-secret", f"@{secret}", "--max-events-per-batch", "10", "--batch-kilobytes", "128"]
    cli(landline, "subscription", "add", *added, "--schema", "CloudEventSchemaV1_0")
    shown = json.loads(cli(landline, "subscription", "show", "full", "--json"))
    wanted = {
        "schema": "CloudEventSchemaV1_0",
        "state": "enabled",
        "includedEventTypes": [
            f"Microsoft.Communication.{each}" for each in ("SMSReceived", "SMSDeliveryReportReceived")
        ],
        "subjectBeginsWith": "/phonenumber/1",
        "isSubjectCaseSensitive": True,
        "maxDeliveryAttempts": 3,
        "eventTimeToLiveInMinutes": 60,
        "maxEventsPerBatch": 10,
        "preferredBatchSizeInKilobytes": 128,
        "signed": True,
    }
    assert {name: shown[name] for name in wanted} == wanted
    headers = [(each["name"], each.get("value", ""), each.get("isSecret", False)) for each in shown["deliveryHeaders"]]
    assert headers == [("x-shop", "one: two", False), ("authorization", "", True)]
    changed = cli(landline, "subscription", "change", "full", "--all-event-types", "--no-enabled", "--ttl-minutes", "5")
    assert changed == "full is disabled"
    shown = json.loads(cli(landline, "subscription", "show", "full"))
    assert (shown["includedEventTypes"], shown["eventTimeToLiveInMinutes"], shown["signed"]) == (None, 5, True)
    assert cli(landline, "subscription", "replay", "full") == "on their way to full again: 0"
    cli(landline, "subscription", "change", "full", "--no-header", "--no-signature-secret")
    shown = json.loads(cli(landline, "subscription", "show", "full"))
    assert (shown["deliveryHeaders"], shown["signed"]) == ([], False)
    assert listed(landline, "subscription", "dead-letters", "full") == []
    cli(landline, "subscription", "remove", "full")


def test_a_list_of_dead_letters_that_is_not_all_of_them_says_so(
    landline: Server, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.fail(times=3, status=400)
    raw = Raw(landline.endpoint, landline.access_key, landline.ca_bundle)
    raw.send_sms(landline.phone_number, [f"+1425555018{last}" for last in range(3)], "Hello")
    landline.clock.advance(seconds=5)
    command = ["subscription", "dead-letters", f"inbox-{urlsplit(inbox.url).port}", "--data", str(landline.data)]
    said: list[str] = []
    for most in (3, 4, 2):
        monkeypatch.setattr(cli_subscription, "_MOST_ROWS", most)
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 0
        printed = capsys.readouterr()
        assert printed.out.count("SMSDeliveryReportReceived") == min(most, 3)
        said.append(printed.err)
    assert said == ["", "", "these are the oldest 2: there are more\n"]


@pytest.mark.parametrize("host", ["localhost", "other.localhost"])
def test_a_subscription_belongs_to_the_resource_of_the_connection_string(landline: Server, host: str) -> None:
    name = "local" if host == "localhost" else "other"
    if name not in {resource["name"] for resource in listed(landline, "resource", "list")}:
        cli(landline, "resource", "create", name)
    connection_string = cli(landline, "resource", "keys", name).splitlines()[0]
    inbox = landline.inbox()
    added = ["--name", "by-cli", "--endpoint", inbox.url, "--connection-string", connection_string]
    cli(landline, "subscription", "add", *added)
    assert "by-cli" in {each["name"] for each in listed(landline, "subscription", "list", "--resource", name)}
    cli(landline, "subscription", "remove", "by-cli", "--resource", name)
    assert "by-cli" not in {each["name"] for each in listed(landline, "subscription", "list", "--resource", name)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resource", "create", "Not A Name"], "name"),
        (["resource", "keys", "nowhere"], "nowhere"),
        (["number", "add", "12"], "NUMBER: A sender is"),
        (["subscription", "remove", "none"], "none"),
        (["subscription", "change", "none"], "say what to change"),
        (["subscription", "change", "none", "--header", "x"], "Name: value"),
        (["subscription", "change", "none", "--signature-secret", "@/nowhere"], "cannot read /nowhere"),
        (
            [*NEW_HOOK, "--connection-string", "endpoint=https://[x/;accesskey=AAAA"],
            "endpoint of the connection string",
        ),
        (["handset", "inbox", "abc"], "NUMBER: "),
        (["handset", "inbox", ""], "that was given is empty"),
        (["message", "list", "--resource", ""], "that was given is empty"),
        (["message", "list", "--tag", "a\udcff"], "not UTF-8"),
        (["message", "show", "a\udcff"], "not UTF-8"),
        (["message", "send", "+14255550123", "a\udcff"], "not UTF-8"),
        (["smpp-account", "create", "nobody", "--password-file", "-", "--rate-per-s", "nan"], "NaN"),
        (
            ["settings", "change", "caps.perday=3"],
            "caps: Object contains unknown field `perday` (did you mean `perDay`?)",
        ),
        (["campaign", "resume", "sprign"], "TAG: of local no campaign sprign is halted"),
        (["campaign", "halt", ""], "TAG is empty"),
    ],
)
def test_refusals_are_one_line(landline: Server, arguments: list[str], said: str) -> None:
    with pytest.raises(LookupError, match=r"^landline: ") as refused:
        cli(landline, *arguments)
    assert said in str(refused.value)
    assert str(refused.value).count("\n") == 1


def test_a_wrong_admin_token_is_refused(landline: Server) -> None:
    with pytest.raises(LookupError, match="does not take this admin token"):
        cli(landline, "resource", "list", "--admin-token", "wrong")


def test_an_admin_token_out_of_a_file_is_the_same_without_its_end_of_line(
    landline_server: Callable[..., Server],
) -> None:
    """As a secret that is mounted or passed on often comes: nobody's header could bring that."""
    token = " a token in words\r\n"
    server = landline_server(env={"LANDLINE_ADMIN_TOKEN": token})
    assert listed(server, "resource", "list")
    env = {**os.environ, "LANDLINE_ADMIN_URL": server.admin.url, "LANDLINE_ADMIN_TOKEN": token}
    done = subprocess.run([*COMMAND, "resource", "list"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_admin_token_that_no_header_carries_is_refused(tmp_path: Path) -> None:
    command = [*COMMAND, "dev", "--port", "0", "--data", str(tmp_path / "data")]
    env = {**os.environ, "LANDLINE_ADMIN_TOKEN": "a\u20acb"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "admin_token has characters" in done.stderr


def test_the_shells_variables_find_the_admin_api_and_are_printed_again_where_they_are_set(landline: Server) -> None:
    command = [*COMMAND, "env", "--data", str(landline.data)]
    lines = printed(command)
    assert printed(["sh", "-c", lines + '\nexec "$@"', "sh", *command]) == lines
    ask = 'curl -sS -H "Authorization: Bearer $LANDLINE_ADMIN_TOKEN" "$LANDLINE_ADMIN_URL/resources"'
    answer = json.loads(printed(["sh", "-c", f"{lines}\n{ask}"]))
    assert "local" in {resource["name"] for resource in answer["value"]}


def test_a_data_directory_that_is_named_wins_over_the_shells_variables(landline: Server) -> None:
    elsewhere = {**os.environ, "LANDLINE_ADMIN_URL": "http://127.0.0.1:1", "LANDLINE_ADMIN_TOKEN": "another"}
    command = [*COMMAND, "resource", "list", "--data", str(landline.data)]
    done = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=False)
    assert (done.returncode, "local" in done.stdout) == (0, True), done.stderr
