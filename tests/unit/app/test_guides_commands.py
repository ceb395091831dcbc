"""The `landline` commands of the README and the guides are ones there are, with options and arguments they take."""

import re
import shlex
from contextlib import suppress
from pathlib import Path

import pytest
from cyclopts import MissingArgumentError

from landline.app.commands import app

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(landline [^`…]*)`")


def commands(page: Path) -> list[str]:
    """As they are typed, without what the shell makes of the rest of the line."""
    text = page.read_text("utf-8")
    lines = [line for block in _SHELL.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    typed = [re.search(r"^(?:[A-Z_]+=\S+ )?(?:\S*/)?landline (.*)", line) for line in lines]
    whole = [each[1] for each in typed if each is not None]
    return whole + [" ".join(each.split())[len("landline ") :] for each in _INLINE.findall(text)]


TYPED = sorted({command for page in PAGES for command in commands(page)})


@pytest.mark.parametrize("command", TYPED)
def test_a_command_of_a_guide_can_be_typed(command: str) -> None:
    words = shlex.split(command.partition(" > ")[0], comments=True)
    # `landline subscription add` in a sentence names a command without what it needs, which is no mistake.
    with suppress(MissingArgumentError):
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_there_are_many() -> None:
    assert len(TYPED) > 60
