"""Writes docs/reference/configuration.md from `config.Config`: `python -m landline.app.config_reference > FILE`."""

import sys
from typing import cast

import msgspec
from msgspec import inspect

from landline.app import config

_HEAD = """# Configuration

Made by `make docs` from `src/landline/app/config.py`. `landline dev` and `landline serve` take each setting from, later
ones over earlier ones: its default, the TOML file given by `--config`, the environment variable named `LANDLINE_` and
the setting in capitals, the command's flags. In the environment a list is parted by commas and a table is a
JSON object. Paths in the file are relative to the file. Settings there are not are refused.
"""


def document() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, field in config.fields().items():
        if name != "mode":
            parts.append(
                f"## {name}\n\n{_description(field.type)}\n\n- takes: {_kind(field.type)}\n- {_default(name, field)}\n"
            )
    return "\n".join(parts)


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
        case inspect.IntType():
            return "a whole number" + _bounds(kind)
        case inspect.BoolType():
            return "`true` or `false`"
        case inspect.VarTupleType():
            return "a list of text"
        case inspect.DictType():
            return "a table of text by name"
        case inspect.CustomType():
            return "a path"
        case _:
            return "text"


def _bounds(kind: inspect.IntType) -> str:
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
    if value is None or value == ():
        return "none"
    return f"`{msgspec.json.encode(value).decode()}`"


if __name__ == "__main__":
    sys.stdout.write(document())
