"""What commands print of what others wrote."""

import sys

import pytest

from landline.app.cli_shared import show

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


MESSAGE = {
    "acceptedAt": "2026-11-23T16:40:04.769126+00:00",
    "messageId": "20261123164004_019aa1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
    "from": "+18005550100",
    "to": "+14255550142",
    "state": "delivered",
    "code": 2000,
    "carrier": "simulated",
    "tag": None,
}


@pytest.mark.parametrize("columns", [40, 80, 100, 130])
def test_a_row_for_which_a_terminal_is_too_narrow_has_lines_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Every value is whole, with its name before it; the terminal breaks none that it has room for."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    show([MESSAGE, {**MESSAGE, "code": None}], tuple(MESSAGE), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    told = [f"{name}: {value}" for name, value in MESSAGE.items() if value is not None]
    assert all(len(line) <= columns or line.strip() in told for line in lines)
    values = [value for line in lines for value in line.strip().split("  ")]
    assert values == [*told, *(value for value in told if value != "code: 2000")]
    assert sum(not line.startswith(" ") for line in lines) == 2, "each row begins where nothing else does"
