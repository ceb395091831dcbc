"""The admin API: a field of a body that there is not is refused everywhere, for one misspelt would be passed over; and
every operation says in /openapi.json what it is called and what it does."""

import ast
import importlib
import pkgutil
import re
import typing
from collections.abc import Iterator

import msgspec
from tests.tidy.tree import name, parsed, python

import landline


def decoders() -> Iterator[tuple[str, object]]:
    for module in pkgutil.walk_packages(landline.__path__, "landline."):
        if "admin" in module.name.rpartition(".")[2]:
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, msgspec.json.Decoder):
                    yield module.name, value.type  # pyright: ignore[reportUnknownMemberType]


def shapes(kind: object) -> Iterator[type[msgspec.Struct]]:
    """The structs that `kind` is made of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from shapes(field.type)
    else:
        for inner in typing.get_args(kind):
            yield from shapes(inner)


def test_every_body_refuses_fields_there_are_not() -> None:
    found = [(module, shape) for module, kind in decoders() for shape in shapes(kind)]
    assert len(found) > 10
    assert not [
        f"{module}: {shape.__name__}" for module, shape in found if not shape.__struct_config__.forbid_unknown_fields
    ]


def test_every_operation_has_a_name_of_its_own_and_all_names_one_form() -> None:
    """As the SDKs' own: `Resources_RotateKey`. Metrics and logs go by it, and /openapi.json."""
    names: list[str] = []
    for file in python("src/landline"):
        calls = [node for node in ast.walk(parsed(file)) if isinstance(node, ast.Call)]
        names += [ast.literal_eval(call.args[3]) for call in calls if ast.unparse(call.func) == "admin_route"]
    assert len(names) > 70
    assert not [each for each in names if not re.fullmatch("([A-Z][a-z]+)+_([A-Z][a-z]+)+", each)]
    assert len(names) == len(set(names))


def test_every_operation_says_what_it_does() -> None:
    """In the docstring of its handler, of which `edge.admin` makes the summary."""
    silent: list[str] = []
    count = 0
    for file in python("src/landline"):
        nodes = list(ast.walk(parsed(file)))
        calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "admin_route"]
        handlers = {ast.unparse(call.args[2]).rpartition(".")[2] for call in calls}
        found = [node for node in nodes if isinstance(node, ast.AsyncFunctionDef) and node.name in handlers]
        assert {node.name for node in found} == handlers, name(file)
        silent += [f"{name(file)}:{node.lineno} {node.name}" for node in found if not ast.get_docstring(node)]
        count += len(calls)
    assert count > 70
    assert not silent
