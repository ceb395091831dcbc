"""One setting's value: read from text, as the environment has it, and converted; what is wrong is said in one line."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from landline.app.config_tables import CannotConfigure, is_text, path
from landline.core import decode_errors

_SETTING = re.compile(r"`\$\.(\w+)(.*)`")
"""Where msgspec says that something is wrong."""


def from_text(kind: msgspec.inspect.Type, text: str, variable: str, *, as_tables: bool) -> object:
    """The `kind` of value that `variable` writes as text: lists parted by commas, tables as JSON, no value as nothing.
    `as_tables`: a list of tables. Raises `CannotConfigure`."""
    if not is_text(text):
        raise CannotConfigure(f"{variable} is not UTF-8")
    if _takes(kind, msgspec.inspect.VarTupleType) and not as_tables:
        return [part.strip() for part in text.split(",") if part.strip()]
    if as_tables or _takes(kind, msgspec.inspect.DictType):
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            wanted = "a JSON array of objects" if as_tables else "a JSON object"
            raise CannotConfigure(f"{variable} must be {wanted}: {error}") from error
    if _takes(kind, msgspec.inspect.BoolType) or _takes(kind, msgspec.inspect.IntType):
        plain: Any = bool if _takes(kind, msgspec.inspect.BoolType) else int
        return converted(text.strip().lower(), variable, plain, strict=False)
    return text


def converted(
    value: object, where: str, kind: Any, *, strict: bool = True, said: Mapping[str, str] | None = None
) -> Any:
    """`value` as a `kind`. Raises `CannotConfigure`, which calls a setting by what is `said` of it."""
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=path)
    except msgspec.ValidationError as error:
        what, _, at = decode_errors.told(error, kind).partition(" - at ")
        place = _SETTING.search(at)
        if place is None:
            raise CannotConfigure(f"{where}: {what}") from error
        name, inner = place.groups()
        below = f": {inner.lstrip('.')}" if inner else ""
        raise CannotConfigure(f"{(said or {}).get(name, name)}{below}: {what}") from error


def _takes(kind: msgspec.inspect.Type, wanted: type[msgspec.inspect.Type]) -> bool:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _takes(kind.type, wanted)
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(_takes(each, wanted) for each in kind.types)
    return isinstance(kind, wanted)
