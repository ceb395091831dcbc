"""The command `opt-out`: who opted out, lists from elsewhere, and what is the matter with them."""

import asyncio
import csv
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.test_cli import cli, listed
from tests.support.cluster import written

from landline.testing import Server
from landline.testing.server import COMMAND
from landline.testing.smsc import Smsc

SENDER = "+18005550100"


def test_who_opted_out_is_listed_added_and_removed(landline: Server) -> None:
    anna, ben = "+14255550241", "+14255550242"
    landline.handset(anna).send("STOP")
    assert "1 opted out" in cli(landline, "opt-out", "add", SENDER, anna, ben)
    [said] = listed(landline, "opt-out", "list", "--to", anna)
    assert (said["from"], said["origin"]) == (SENDER, "keyword")
    assert ben in cli(landline, "opt-out", "list", "--from", SENDER, "--limit", "1000")
    assert "1 get texts" in cli(landline, "opt-out", "remove", SENDER, ben)
    assert listed(landline, "opt-out", "list", "--to", ben) == []


def test_a_list_from_elsewhere_is_entered_and_may_be_entered_again(landline: Server, tmp_path: Path) -> None:
    phones = [f"+1425556{number:04}" for number in range(1100)]
    file = tmp_path / "list.csv"
    lines = [f"{SENDER},{phone},2024-05-06T07:08:09+02:00,call" for phone in phones]
    file.write_text("\n".join(["From,To,At,How", *lines]), "utf-8-sig")
    assert cli(landline, "opt-out", "import", str(file)) == "1100 entered"
    assert cli(landline, "opt-out", "import", str(file)) == "0 entered, 1100 were there before"
    shown = csv.DictReader(cli(landline, "opt-out", "list", "--until", "2025-01-01", "--csv").splitlines())
    assert [(row["to"], row["at"], row["origin"]) for row in shown] == [
        (phone, "2024-05-06T05:08:09.0000000+00:00", "import") for phone in phones
    ]
    assert len(listed(landline, "opt-out", "list", "--until", "2025-01-01", "--limit", "5")) == 5


def test_what_was_listed_can_be_entered_elsewhere(landline: Server, tmp_path: Path) -> None:
    file = tmp_path / "listed.csv"
    cli(landline, "opt-out", "add", SENDER, "+14255550243")
    file.write_text(cli(landline, "opt-out", "list", "--to", "+14255550243", "--csv"))
    cli(landline, "opt-out", "remove", SENDER, "+14255550243")
    assert cli(landline, "opt-out", "import", str(file)) == "1 entered"


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_a_list_may_come_by_standard_input_as_spreadsheets_write_it(landline: Server, locale: str) -> None:
    """With a byte order mark, and all values in quotation marks."""
    phone = "+14255550247" if locale == "C" else "+14255550248"
    given = f'\ufeff"from","to","name"\r\n"{SENDER}","{phone}","Zoë"\r\n'.encode()
    done = imported(landline, given, locale)
    assert (done.returncode, done.stdout) == (0, b"1 entered\n"), done.stderr


def test_standard_input_that_is_not_utf_8_is_refused_as_a_file_is(landline: Server) -> None:
    for locale in ("C.UTF-8", "C"):
        done = imported(landline, f"from,to,name\n{SENDER},+14255550249,Zoë\n".encode("latin-1"), locale)
        assert (done.returncode, done.stderr) == (1, b"landline: cannot read -: it is not UTF-8\n")


def imported(server: Server, given: bytes, locale: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*COMMAND, "opt-out", "import", "-", "--data", str(server.data)]
    return subprocess.run(command, env={**os.environ, "LC_ALL": locale}, input=given, capture_output=True, check=False)


def test_a_phone_a_line_is_enough(landline: Server, tmp_path: Path) -> None:
    file = tmp_path / "phones.txt"
    file.write_text("+14255550244\n\n+14255550245\n")
    assert cli(landline, "opt-out", "import", str(file), "--from", SENDER) == "2 entered"


@pytest.mark.parametrize(
    ("text", "sender", "said"),
    [
        ("+14255550246\n", None, "give --from"),
        ("to\n+14255550246\n", None, "line 2: it does not say from which number"),
        ("to;at\n+14255550246;2024-01-01T00:00:00Z\n4255\n", SENDER, "line 3: 4255 is no phone number"),
        ("from,to\n+18005550199,+14255550246\n", SENDER, "line 2: it says +18005550199"),
        ("from,to\n+18005550199,+14255550246\n", None, "+18005550199 is no number of this resource"),
        ("to,at\n+14255550246,yesterday\n", SENDER, "lines 2 to 2 are not entered"),
        ("to\n", SENDER, "there is nothing in it"),
    ],
)
def test_of_a_list_with_a_mistake_nothing_is_entered(
    landline: Server, tmp_path: Path, text: str, sender: str | None, said: str
) -> None:
    file = tmp_path / "list"
    file.write_text(text)
    given = () if sender is None else ("--from", sender)
    with pytest.raises(LookupError, match=re.escape(said)):
        cli(landline, "opt-out", "import", str(file), *given)
    assert listed(landline, "opt-out", "list", "--to", "+14255550246") == []


async def test_names_that_a_spreadsheet_or_a_terminal_would_act_on_are_listed_as_text(
    landline_server: Callable[..., Server], dsn: str, tmp_path: Path
) -> None:
    """Whoever texts may say under which name, where a carrier lets them."""
    smsc = Smsc({"landline": "secret"})
    await smsc.start()
    try:
        config = written(tmp_path / "landline.toml", dsn, smsc.port, binds=1)
        server = await asyncio.to_thread(landline_server, arguments=["--config", str(config)])
        await smsc.until(lambda: smsc.bound("landline") == 1)
        for count, name in enumerate(("=1+2", "\x1b[2J"), 1):
            smsc.text(name, server.phone_number, "STOP")
            await smsc.until(lambda count=count: smsc.counts.delivered == count)
        shown = await asyncio.to_thread(cli, server, "opt-out", "list", "--csv")
        assert {row["to"] for row in csv.DictReader(shown.splitlines())} == {"'=1+2", r"\x1b[2J"}
    finally:
        await smsc.close()
