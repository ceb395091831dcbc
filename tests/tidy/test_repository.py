"""The repository as a whole: made pages are up to date, links lead somewhere, nothing is left in that should not be."""

import re
import tomllib
from pathlib import Path

from tests.tidy.tree import ROOT, SOURCE, files, name

from landline.app import config, config_reference
from landline.protocols.smpp import status

LEFT_IN = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
MACHINES = re.compile(r"(?<![\w.~-])/(?:work|home/\w+|Users/\w+)/")
REGISTRIES = re.compile(
    r"(?:files\.python" + r"hosted|py" + r"pi\.org|registry\.npm" + r"js|npm" + r"js\.org|registry\.yarn" + r"pkg)"
    r"|--(?:extra-)?index" + r"-url",
    re.IGNORECASE,
)
_READ_VARIABLE = re.compile(r'environ(?:\.get\(|\[)"(LANDLINE_[A-Z_]+)"|^\t(LANDLINE_[A-Z_]+)=', re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
_FRAGMENT = re.compile(r"\d+\.(?:feature|fix|change|removal|doc)(?:\.\d+)?\.md")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name(file)}:{number}"
        for file in files()
        if file.name != "LICENSE"
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def pages() -> list[Path]:
    return [file for file in files() if file.suffix == ".md"]


def test_no_code_is_left_to_be_done_later() -> None:
    assert not [place for place in lines_with(LEFT_IN) if ".md:" not in place]


def test_no_file_names_a_machine_or_a_registry() -> None:
    assert not lines_with(MACHINES)
    assert not lines_with(REGISTRIES)


def test_the_map_of_the_largest_slice_has_each_of_its_files() -> None:
    page = (ROOT / "docs" / "design" / "sms.md").read_text("utf-8")
    told = set(re.findall(r"`(\w+)`", page)) - {"records_X"}
    assert told == {file.stem for file in (SOURCE / "services" / "sms").glob("[!_]*.py")}, "docs/design/sms.md"


def test_the_configurations_page_is_up_to_date() -> None:
    page = ROOT / "docs" / "reference" / "configuration.md"
    assert page.read_text("utf-8") == config_reference.document(), "run: make docs"


def test_variables_of_tests_and_commands_keep_no_server_from_starting() -> None:
    """One that begins like those of settings and is none is refused, also by the servers that tests start."""
    read = {
        found[1] or found[2]
        for file in files()
        if file.suffix == ".py" or file.name == "Makefile"
        for found in _READ_VARIABLE.finditer(file.read_text("utf-8"))
    }
    assert "LANDLINE_EXAMPLES" in read
    settings = {config.PREFIX + each.upper() for each in config.fields()}
    assert not read - settings - config.NOT_SETTINGS


def test_the_page_of_carriers_codes_says_what_each_status_becomes() -> None:
    page = (ROOT / "docs" / "reference" / "carrier-codes.md").read_text("utf-8")
    told = {
        name: int(code)
        for code, names in re.findall(r"^\| (\d{4}) \| (.*?) \|", page, re.MULTILINE)
        for name in re.findall(r"\bESME_\w+", re.sub(r"\(.*?\)", "", names))
    }
    assert told == {each.name: each.code for number, each in status.STATUS.items() if number}


def test_every_dependency_has_its_sentence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs" / "design" / "dependencies.md").read_text("utf-8").lower()
    names = [re.split(r"[\s>=<;\[]", line)[0] for line in project["dependencies"]]
    assert not [each for each in names if f"**{each.lower()}**" not in page]


def test_requirements_are_pinned_by_hash() -> None:
    for file in (ROOT / "requirements").glob("*.txt"):
        entries = file.read_text("utf-8").replace("\\\n", " ").splitlines()
        pinned = [entry for entry in entries if entry and not entry.lstrip().startswith("#")]
        assert all("==" in entry and "--hash=sha256:" in entry for entry in pinned), name(file)


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{name(page)}: {link}"
        for page in pages()
        for link in _LINK.findall(page.read_text("utf-8"))
        if not (page.parent / link).exists()
    ]
    assert not broken


def test_news_fragments_are_named_for_their_issue_and_kind() -> None:
    assert not [
        file.name
        for file in (ROOT / "news").iterdir()
        if file.name != "README.md" and not _FRAGMENT.fullmatch(file.name)
    ]


def test_make_lists_its_commands() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for command in ("run", "test", "check", "sim", "bench", "docs", "clean"):
        assert re.search(rf"^{command}:.*## ", makefile, re.MULTILINE), command


def test_the_package_carries_what_is_not_python() -> None:
    kinds = {file.suffix for file in SOURCE.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert kinds <= {".py", ".sql", ".typed"}, (
        "see that the wheel has these (tests/e2e/test_wheel.py), then name them here"
    )
