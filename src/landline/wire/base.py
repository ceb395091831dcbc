"""The base of all wire shapes, and the two ways they become bytes and back."""

import re
from codecs import BOM_UTF8
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

import msgspec

from landline.core import decode_errors
from landline.core.errors import Invalid

T = TypeVar("T")
encode = msgspec.json.Encoder().encode
"""A wire shape as JSON bytes; fields at their default are left out."""

_MISSING = re.compile(r"Object missing required field `(.+)`")
_LENGTH = re.compile(r"Expected `(\w+)` of length ([<>])= (\d+)")
_ESCAPE = re.compile(rb"\\(?:u[Dd][89ABab]..\\u[Dd][C-Fc-f]|(u[Dd][89A-Fa-f])|.)", re.DOTALL)
"""Of a JSON text, each; the group is a surrogate without its other half (RFC 8259 §8.2)."""


_INSTANT = "Must be an instant with its offset (RFC 3339), such as 2026-03-01T14:00:00Z."
_PLAINER = {
    "Invalid RFC3339 encoded datetime": _INSTANT,
    "Expected `datetime` with a timezone component": _INSTANT,
    "Invalid decimal string": "Must be a number with a point before its decimals, such as 0.0075.",
}
"""What msgspec says that tells nobody what to write."""


class Wire(msgspec.Struct, rename="camel", omit_defaults=True):
    """Base of all wire shapes: camelCase keys, absent means None, unknown keys ignored."""


def timestamp(at: datetime) -> str:
    """`at` as ACS writes instants: UTC, seven fractional digits, offset `+00:00`."""
    return digits(at) + "0+00:00"


@lru_cache(maxsize=1024)
def digits(at: datetime) -> str:
    """`at` in UTC to the microsecond. An event has the same instant in several places."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """`body` as the shape of `decoder`. Raises `Invalid`, its target the field's path on the wire."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        said, place = decode_errors.parted(decode_errors.told(error, decoder.type))
        target = place.removeprefix(".")
        missing = _MISSING.fullmatch(said)
        if missing:  # it is what is wrong, not the object that it is not in
            target = f"{target}.{missing[1]}" if target else missing[1]
            said = f"The {missing[1]} field is required."
        raise Invalid(_LENGTH.sub(_length, _PLAINER.get(said, said)), target=target or "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Some programs put it before what they write; RFC 8259 §8.1 lets it be passed over. Not one after another.
        if body.startswith(BOM_UTF8) and not body.startswith(BOM_UTF8 * 2):
            return decode(body.removeprefix(BOM_UTF8), decoder)
        raise Invalid(_unreadable(body, error), target="body") from None
    except RecursionError:
        raise Invalid("The request body is nested too deeply.", target="body") from None


def _unreadable(body: bytes, error: Exception) -> str:
    """Why `body` is no JSON. Of the first three msgspec says something else, or the wrong place."""
    if not body.strip():
        return "The request has no body."
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return f"The request body is not UTF-8 (byte {wrong.start}), as JSON is."
    if any(found.group(1) for found in _ESCAPE.finditer(body)):
        return "The request body holds half a character: a surrogate in a \\u escape without the other."
    return f"The request body is not valid JSON: {error}"


def _length(found: re.Match[str]) -> str:
    kind, which, count = found.groups()
    of_what = "characters" if kind == "str" else "entries"
    return f"Must have at {'most' if which == '<' else 'least'} {count} {of_what}."
