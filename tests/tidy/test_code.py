"""HOUSE.md 7 and 8 for Python: sizes, docstrings, and where the clock and chance may not be read."""

import ast
from pathlib import Path

import pytest
from tests.tidy.tree import ROOT, SOURCE, name, parsed, python

FUNCTION_LINES = 60
FILE_LINES = 500
TEST_LINES = 800
PORT_METHODS = 8
TABLES_OF_DATA: frozenset[str] = frozenset()
"""Files that are tables and may be as long as what they list."""

SANS_IO_READS = {"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "getrandbits", "perf_counter", "monotonic"}
SANS_IO_MODULES = {"secrets", "os", "uuid.uuid4", "threading", "socket", "asyncio", "time", "random"}


def lines_of(file: Path) -> int:
    return len(file.read_text("utf-8").splitlines())


def sans_io() -> list[Path]:
    return [
        file
        for file in python("src/landline")
        if "protocols" in file.parts or file.name == "model.py" or "model" in file.parts
    ]


def test_files_are_short() -> None:
    limits = [(file, FILE_LINES) for file in python("src", "bench") if file.parent != SOURCE / "wire"]
    limits += [(file, TEST_LINES) for file in python("tests")]
    long = {name(file): lines_of(file) for file, limit in limits if lines_of(file) > limit}
    assert not long.keys() - TABLES_OF_DATA, f"split these: {long}"


def test_functions_are_short() -> None:
    long: list[str] = []
    for file in python("src", "tests", "bench"):
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{name(file)}:{node.lineno} {node.name} has {lines} lines")
    assert not long, "split these: " + "; ".join(long)


def test_ports_are_small() -> None:
    """HOUSE.md 5.1; what is only read (a property) is no method."""
    methods = {
        f"{name(file)} {port.name}": [
            each.name
            for each in port.body
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            and not any(isinstance(mark, ast.Name) and mark.id == "property" for mark in each.decorator_list)
        ]
        for file in python("src/landline/ports")
        for port in parsed(file).body
        if isinstance(port, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in port.bases)
    }
    assert "src/landline/ports/sms_carrier.py SmsCarrier" in methods
    assert not {port: told for port, told in methods.items() if len(told) > PORT_METHODS}


@pytest.mark.parametrize("root", ["src", "tests", "bench"])
def test_every_module_says_what_it_is_for(root: str) -> None:
    silent = [
        name(file) for file in python(root) if file.read_text("utf-8").strip() and not ast.get_docstring(parsed(file))
    ]
    assert not silent, "open these with a docstring of one to three sentences"


def test_models_and_protocols_read_neither_clock_nor_chance() -> None:
    found: list[str] = []
    for file in sans_io():
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
                imported = {f"{module}.{each.name}" if module else each.name for each in node.names} | {module}
                if imported & SANS_IO_MODULES:
                    found.append(f"{name(file)}:{node.lineno}")
            elif (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SANS_IO_READS
            ):
                found.append(f"{name(file)}:{node.lineno}")
    assert not found, "hand the instant, or the random bytes, in as a parameter"


def test_tests_are_not_skipped() -> None:
    marks = {"skip", "skipif", "xfail", "importorskip"}
    found = [
        f"{name(file)}:{node.lineno}"
        for file in python("tests")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Attribute) and node.attr in marks
    ]
    assert not found, "a test runs, or is not there"


def test_every_folder_of_the_package_is_one() -> None:
    folders = {file.parent for file in python("src/landline")}
    assert not [name(folder) for folder in folders if not (folder / "__init__.py").exists()]
    assert (ROOT / "src" / "landline" / "__init__.py").exists()


def test_tasks_that_are_kept_are_watched() -> None:
    """Those of `app` are waited for (`Product.failed`, `Workers.wait`)."""
    found = [
        f"{name(file)}:{node.lineno}"
        for file in python("src/landline")
        if not file.is_relative_to(ROOT / "src" / "landline" / "app")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Attribute) for target in node.targets)
        if "asyncio.create_task(" in ast.unparse(node.value)
    ]
    assert not found, "store.watched says when a bug ends it"


def test_what_others_change_too_is_read_after_the_await() -> None:
    """`self.n += await …` reads `self.n` first: what others add meanwhile is lost."""
    found = [
        f"{name(file)}:{node.lineno}"
        for file in python("src/landline")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.AugAssign) and ast.unparse(node.target).startswith("self.")
        if any(isinstance(each, ast.Await) for each in ast.walk(node.value))
    ]
    assert not found, "await it in a line of its own"
