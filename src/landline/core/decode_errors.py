"""Clearer words for what msgspec refuses to decode: of a value that is no member of an enum it does not name the
members, and of an unknown field it does not say which one was perhaps meant. Bodies of requests (`wire.base`) and the
configuration are refused in these words."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import msgspec

_NO_CHOICE = re.compile(r"Invalid enum value (.*) - at (`key` in )?`\$(.*)`$", re.DOTALL)
_NO_FIELD = "Object contains unknown field `"
_AT = " - at `$"
_LONG = 64
"""What is longer is no slip of any name of ours: it is told in part, and not compared with them, which takes a second
for a name of a megabyte."""
_STEP = re.compile(r"\.(\w+)|\[")


def told(error: msgspec.ValidationError, kind: Any) -> str:
    """The message of `error`, which was raised when something was decoded as a `kind`. It still ends with where in the
    value that was, as msgspec writes it: ` - at `$.field``."""
    said = str(error)
    if said.startswith(_NO_FIELD):
        what, path = parted(said)
        field = what[len(_NO_FIELD) : -1]
        near = nearest(field, (name for place in _places(kind, path) for name in _fields(place)))
        guess = "" if near is None else f" (did you mean `{near}`?)"
        return said.replace(f"`{field}`", f"`{_short(field)}`{guess}", 1)
    found = _NO_CHOICE.match(said)
    if found is None:
        return said
    value, is_key, path = found.groups()
    places = _places(kind, path)
    if is_key:
        places = [key for place in places for key in _keys(place)]
    values = [value for place in places for value in _values(place)]
    wrong = f"Must be one of {', '.join(values)}, not" if values else "Invalid enum value"
    return said.replace(f"Invalid enum value {value}", f"{wrong} {_short(value)}", 1)


def parted(said: str) -> tuple[str, str]:
    """What is wrong, and where in the value that is, as `.field[...]`; empty where `said` does not tell. A name that is
    not known stands in it as its sender wrote it, a megabyte of what looks like places too: it is looked through once.
    """
    what, _, where = said.rpartition(_AT)
    return (what, where[:-1]) if what and where.endswith("`") else (said, "")


def nearest(name: str, there: Iterable[str]) -> str | None:
    """The one of the names `there` that `name`, which is none of them, was perhaps meant to be; None for no guess."""
    if len(name) > _LONG:
        return None
    spelled = {each.lower(): each for each in there}
    near: list[str] = get_close_matches(name.lower(), list(spelled), 1)
    return spelled[near[0]] if near else None


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def _places(kind: Any, path: str) -> list[msgspec.inspect.Type]:
    places = [msgspec.inspect.type_info(kind)]
    for step in _STEP.finditer(path):
        places = [below for place in places for below in _below(place, step.group(1))]
    return places


def _fields(place: msgspec.inspect.Type) -> list[str]:
    match place:
        case msgspec.inspect.Metadata():
            return _fields(place.type)
        case msgspec.inspect.UnionType():
            return [name for each in place.types for name in _fields(each)]
        case msgspec.inspect.StructType():
            return [each.encode_name for each in place.fields]
        case _:
            return []


def _below(place: msgspec.inspect.Type, field: str | None) -> list[msgspec.inspect.Type]:
    """What may stand in `field` of `place`, or as an item of it when that is None."""
    match place:
        case msgspec.inspect.Metadata():
            return _below(place.type, field)
        case msgspec.inspect.UnionType():
            return [below for each in place.types for below in _below(each, field)]
        case msgspec.inspect.StructType():
            return [each.type for each in place.fields if each.encode_name == field]
        case msgspec.inspect.DictType() if field is None:
            return [place.value_type]
        case msgspec.inspect.CollectionType() if field is None:
            return [place.item_type]
        case _:
            return []


def _keys(place: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    match place:
        case msgspec.inspect.Metadata():
            return _keys(place.type)
        case msgspec.inspect.UnionType():
            return [key for each in place.types for key in _keys(each)]
        case msgspec.inspect.DictType():
            return [place.key_type]
        case _:
            return []


def _values(place: msgspec.inspect.Type) -> list[str]:
    match place:
        case msgspec.inspect.Metadata():
            return _values(place.type)
        case msgspec.inspect.UnionType():
            return [value for each in place.types for value in _values(each)]
        case msgspec.inspect.EnumType():
            return [str(each.value) for each in place.cls]
        case msgspec.inspect.LiteralType():
            return [str(each) for each in place.values]
        case _:
            return []
