"""What the installed official SDKs say about the wire, read from the tables inside them, and how ours differs."""

import importlib
import inspect
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect as shapes

_URL = re.compile(r'_url = (?:kwargs\.pop\("template_url", )?"([^"]+)"')
_METHOD = re.compile(r'method="([A-Z]+)"')
_SPEC = re.compile(r'path: "([^"]+)",\s*httpMethod: "([A-Z]+)"')
_KINDS = {"str": "string", "int": "number", "float": "number", "bool": "boolean", "iso-8601": "string", "object": "any"}
_JS_KINDS = {
    "String": "string",
    "Number": "number",
    "Boolean": "boolean",
    "DateTime": "string",
    "Enum": "string",
    "Uuid": "string",
    "any": "any",
}


class Property(NamedTuple):
    """One JSON property: what it holds, whether it must be there, its limits (of its items, when it is a list)."""

    kind: str
    required: bool
    limits: dict[str, int]


def python_operations(module_name: str) -> set[tuple[str, str]]:
    """(method, template) of every request that a generated operations module of a Python SDK can build."""
    module = importlib.import_module(module_name)
    found: set[tuple[str, str]] = set()
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("build_") and function.__module__ == module.__name__:
            source = inspect.getsource(function)
            template, method = _URL.search(source), _METHOD.search(source)
            assert template is not None, name
            assert method is not None, name
            found.add((method.group(1), template.group(1)))
    return found or _older_operations(module)


def _older_operations(module: ModuleType) -> set[tuple[str, str]]:
    """The same of modules made before there were request builders: templates hang on the methods."""
    source = inspect.getsource(module)
    templates = re.findall(r"(\w+)\.metadata = \{'url': '([^']+)'\}", source)
    methods = re.findall(r"self\._client\.(get|post|put|patch|delete)\(", source)
    assert len(templates) == len(methods) > 0
    return {(method.upper(), template) for method, (_, template) in zip(methods, templates, strict=True)}


def javascript_operations(package: Path) -> set[tuple[str, str]]:
    """(method, template) of every OperationSpec in a JavaScript SDK's own code."""
    found: set[tuple[str, str]] = set()
    for file in _javascript(package):
        for template, method in _SPEC.findall(file.read_text("utf-8")):
            if template != "{nextLink}":
                found.add((method, template))
    assert found, f"{package} holds no operations"
    return found


def _javascript(package: Path) -> Iterable[Path]:
    for root in ("dist-esm", "dist/esm"):
        if (package / root).is_dir():
            return sorted((package / root).rglob("generated/**/*.js"))
    raise AssertionError(f"{package} is not laid out as known")


def python_model(model: type) -> dict[str, Property]:
    """The properties of a model class of a Python SDK by their JSON names."""
    attributes: dict[str, dict[str, str]] = getattr(model, "_attribute_map")  # noqa: B009 (the SDK's own name)
    validation: dict[str, dict[str, Any]] = getattr(model, "_validation", {})
    found: dict[str, Property] = {}
    for name, entry in attributes.items():
        rules = validation.get(name, {})
        limits = {
            ours: rules[theirs]
            for theirs, ours in (
                ("max_length", "max_length"),
                ("min_length", "min_length"),
                ("maximum", "le"),
                ("minimum", "ge"),
                ("max_items", "max_length"),
                ("min_items", "min_length"),
            )
            if rules.get(theirs)
        }
        found[entry["key"]] = Property(_python_kind(entry["type"]), bool(rules.get("required")), limits)
    return found


def _python_kind(name: str) -> str:
    if name.startswith("["):
        return "list"
    return _KINDS.get(name, "object")


def javascript_models(package: Path, node: str) -> dict[str, dict[str, Property]]:
    """The models in a JavaScript SDK's mappers, by name, then their properties by JSON name."""
    files = [file.as_uri() for file in _javascript(package) if file.name == "mappers.js"]
    imported = ", ".join(f"import({json.dumps(uri)})" for uri in files)
    script = f"Promise.all([{imported}]).then(all => console.log(JSON.stringify(Object.assign({{}}, ...all))))"
    output = subprocess.run([node, "-e", script], capture_output=True, check=True, timeout=60).stdout
    return {
        mapper["type"]["className"]: {
            entry["serializedName"]: Property(
                _javascript_kind(entry["type"]["name"]), bool(entry.get("required")), _constraints(entry)
            )
            for entry in mapper["type"].get("modelProperties", {}).values()
        }
        for mapper in json.loads(output).values()
        if mapper.get("type", {}).get("name") == "Composite"  # among them lies a table of discriminators
    }


def _javascript_kind(name: str) -> str:
    return "list" if name == "Sequence" else _JS_KINDS.get(name, "object")


def _constraints(entry: dict[str, Any]) -> dict[str, int]:
    names = {"MaxLength": "max_length", "InclusiveMaximum": "le", "InclusiveMinimum": "ge", "MaxItems": "max_length"}
    return {names[name]: value for name, value in entry.get("constraints", {}).items() if name in names}


def our_shape(struct: type[msgspec.Struct]) -> dict[str, Property]:
    """The properties of one of our wire shapes by their JSON names."""
    info = shapes.type_info(struct)
    assert isinstance(info, shapes.StructType)
    found: dict[str, Property] = {}
    for field in info.fields:
        kind, limits = _our_kind(field.type)
        found[field.encode_name] = Property(kind, field.required, limits)
    return found


def _our_kind(kind: shapes.Type) -> tuple[str, dict[str, int]]:
    match kind:
        case shapes.Metadata():
            return _our_kind(kind.type)
        case shapes.UnionType():
            return _our_kind(next(each for each in kind.types if not isinstance(each, shapes.NoneType)))
        case shapes.DateTimeType():
            return "string", {}
        case shapes.StrType():
            return "string", _limits(kind, "max_length", "min_length")
        case shapes.IntType() | shapes.FloatType():
            return "number", _limits(kind, "ge", "le")
        case shapes.BoolType():
            return "boolean", {}
        case shapes.ListType():
            return "list", _limits(kind, "max_length", "min_length")
        case shapes.AnyType():
            return "any", {}
        case _:
            return "object", {}


def _limits(kind: shapes.Type, *names: str) -> dict[str, int]:
    return {name: value for name in names if (value := getattr(kind, name)) is not None}


def request_drift(ours: dict[str, Property], theirs: dict[str, Property], *, newer: Iterable[str] = ()) -> list[str]:
    """Where a request of the SDK would be misread or refused by us; `newer` names properties of later versions."""
    found = _drift(ours, theirs, newer)
    for name in ours.keys() & theirs.keys():
        if ours[name].required and not theirs[name].required:
            found.append(f"{name}: we require what the SDK may leave out")
        for limit, value in theirs[name].limits.items():
            if ours[name].limits.get(limit, value) != value:
                found.append(f"{name}: {limit} is {ours[name].limits[limit]} with us, {value} in the SDK")
    return found


def response_drift(ours: dict[str, Property], theirs: dict[str, Property], *, newer: Iterable[str] = ()) -> list[str]:
    """Where a response of ours would lack what the SDK reads."""
    found = _drift(ours, theirs, newer)
    for name in ours.keys() & theirs.keys():
        if theirs[name].required and not ours[name].required:
            found.append(f"{name}: the SDK counts on it and we may leave it out")
    return found


def _drift(ours: dict[str, Property], theirs: dict[str, Property], newer: Iterable[str]) -> list[str]:
    found = [f"{name}: only in the SDK" for name in sorted(theirs.keys() - ours.keys())]
    found += [f"{name}: only with us" for name in sorted(ours.keys() - theirs.keys() - set(newer))]
    for name in sorted(ours.keys() & theirs.keys()):
        if "any" not in (ours[name].kind, theirs[name].kind) and ours[name].kind != theirs[name].kind:
            found.append(f"{name}: {ours[name].kind} with us, {theirs[name].kind} in the SDK")
    return found
