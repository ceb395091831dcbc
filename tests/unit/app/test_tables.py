"""What commands print of what others wrote."""

import pytest

from landline.app.cli_admin import show

WRITTEN = {
    "red \x1b[31m and a title \x1b]0;x\x07": r"red \x1b[31m and a title \x1b]0;x\x07",
    "two\r\nlines": r"two\r\nlines",
    "\x9b2J": r"\x9b2J",
    "\u202eturned round": r"\u202eturned round",
    "Fr\u00fchling\u00a0\U0001f337": "Fr\u00fchling\u00a0\U0001f337",
}


def test_what_others_wrote_stays_on_its_line_and_tells_the_terminal_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"tag": written, "n": 1} for written in WRITTEN], ("tag", "n"), as_json=False)
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.removesuffix("1").strip(" ") for line in lines] == list(WRITTEN.values())
