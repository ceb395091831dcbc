"""Writes docs/reference/configuration.md from `config.Config`: `python -m landline.app.config_reference > FILE`."""

import sys
from typing import cast

import msgspec
from msgspec import inspect

from landline.app import config

_HEAD = """# Configuration

Made by `make docs` from `src/landline/app/config.py`. `landline dev` and `landline serve` take each setting from, later
ones over earlier ones: its default, the TOML file given by `--config`, the environment variable named `LANDLINE_` and
the setting in capitals, the command's flags. In the environment a list is parted by commas, a table is a JSON object
and a list of tables a JSON array of objects. Paths in the file are relative to the file. Settings there are not are
refused.
"""


def document() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, field in config.fields().items():
        if name != "mode":
            parts.append(
                f"## {name}\n\n{_description(field.type)}\n\n- takes: {_kind(field.type)}\n- {_default(name, field)}\n"
            )
            parts += [_fields(table) for table in _tables_in(field.type)]
    return "\n".join(parts)


def _tables_in(kind: inspect.Type) -> list[inspect.StructType]:
    """The tables a list of tables is made of, those with described fields."""
    inner = kind.type if isinstance(kind, inspect.Metadata) else kind
    if isinstance(inner, inspect.VarTupleType) and isinstance(inner.item_type, inspect.StructType):
        return [inner.item_type]
    return []


def _fields(table: inspect.StructType) -> str:
    rows = ["| field | takes | default | |", "|---|---|---|---|", *_rows(table, "")]
    return "\n".join(rows) + "\n"


def _rows(table: inspect.StructType, before: str) -> list[str]:
    rows: list[str] = []
    for field in table.fields:
        default = "required" if field.required else _shown(_default_of(field))
        cells = (f"`{before}{field.name}`", _kind(field.type), default, _description(field.type))
        rows.append("| " + " | ".join(cells) + " |")
        nested = _nested(field.type)
        if nested is not None:
            rows += _rows(nested, f"{before}{field.name}.")
    return rows


def _nested(kind: inspect.Type) -> inspect.StructType | None:
    inner = kind.type if isinstance(kind, inspect.Metadata) else kind
    members = inner.types if isinstance(inner, inspect.UnionType) else (inner,)
    return next((each for each in members if isinstance(each, inspect.StructType)), None)


def _default_of(field: inspect.Field) -> object:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def _description(kind: inspect.Type) -> str:
    assert isinstance(kind, inspect.Metadata)
    schema = cast(dict[str, str], kind.extra_json_schema)  # pyright: ignore[reportUnknownMemberType]
    return schema["description"]


def _kind(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return _kind(kind.type)
        case inspect.UnionType():
            return ", or ".join(_kind(each) for each in kind.types if not isinstance(each, inspect.NoneType))
        case inspect.LiteralType():
            return "one of " + ", ".join(f"`{value}`" for value in kind.values)
        case inspect.EnumType():
            return "one of " + ", ".join(f"`{member.value}`" for member in kind.cls)
        case inspect.IntType():
            return "a whole number" + _bounds(kind)
        case inspect.FloatType():
            return "a number" + (" above 0" if kind.gt == 0 else _bounds(kind))
        case inspect.BoolType():
            return "`true` or `false`"
        case inspect.VarTupleType():
            return "a list of tables" if _tables_in(kind) else "a list of text" + _or_tables(kind.item_type)
        case inspect.StructType():
            return "a table"
        case inspect.DictType():
            return _table_of(kind)
        case inspect.CustomType():
            return "a path"
        case _:
            return "text"


def _or_tables(kind: inspect.Type) -> str:
    return " or tables" if _nested(kind) is not None else ""


def _table_of(kind: inspect.DictType) -> str:
    key = kind.key_type
    names = _kind(key).removeprefix("one of ") if isinstance(key, inspect.LiteralType) else "name"
    value = kind.value_type.type if isinstance(kind.value_type, inspect.Metadata) else kind.value_type
    values = "text" if isinstance(value, inspect.StrType) else "numbers"
    return f"a table of {values} by {names}"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f" from {kind.ge}" if kind.ge is not None else ""
    return low + (f" to {kind.le}" if kind.le is not None else "")


def _default(name: str, field: inspect.Field) -> str:
    if name == "data":
        return "default: `~/.local/share/landline/dev` (or `/serve`), for root below `/var/lib/landline`"
    usual = None if field.default is msgspec.NODEFAULT else field.default
    said = [
        f"{mode} {_shown(table[name])}"
        for mode, table in (("dev", config.DEV), ("serve", config.SERVE))
        if name in table
    ]
    return ", in ".join([f"default: {_shown(usual)}", *said])


def _shown(value: object) -> str:
    if value in (None, (), {}, ""):
        return "none"
    return f"`{msgspec.json.encode(value).decode()}`"


if __name__ == "__main__":
    sys.stdout.write(document())
