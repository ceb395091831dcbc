"""A value that is none of those there are is refused with those there are, and a field with the one nearest to it."""

from enum import Enum
from typing import Annotated, Literal

import msgspec
import pytest

from landline.app.config import CannotConfigure, load
from landline.core import decode_errors
from landline.core.errors import Invalid
from landline.wire.base import Wire, decode


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Pot(Wire):
    first_coat: Colour | None = None
    sizes: list[Literal["small", "large"]] | None = None
    prices: Annotated[dict[Colour, Annotated[float, msgspec.Meta(ge=0)]], msgspec.Meta(description="each")] | None = (
        None
    )
    inner: "Pot | None" = None
    kept: dict[str, "Pot"] | None = None


class Plain(Wire, forbid_unknown_fields=True):
    colour: str | None = None
    inner: "Plain | None" = None


@pytest.mark.parametrize(
    ("body", "said", "target"),
    [
        (b'{"firstCoat": "green"}', "Must be one of red, blue, not 'green'", "firstCoat"),
        (b'{"inner": {"sizes": ["small", "huge"]}}', "Must be one of large, small, not 'huge'", "inner.sizes[1]"),
        (b'{"kept": {"any": {"firstCoat": ""}}}', "Must be one of red, blue, not ''", "kept[...].firstCoat"),
        (b'{"prices": {"green": 1}}', "Must be one of red, blue, not 'green' - at `key` in `$.prices`", "body"),
        (b'{"firstCoat": 1}', "Expected `str | null`, got `int`", "firstCoat"),
        (b'{"prices": {"red": -1}}', "Expected `float` >= 0.0", "prices[...]"),
    ],
)
def test_a_request_is_told_the_values_there_are(body: bytes, said: str, target: str) -> None:
    with pytest.raises(Invalid) as refusal:
        decode(body, msgspec.json.Decoder(Pot))
    assert (refusal.value.message, refusal.value.target) == (said, target)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"LANDLINE_SENDER_RATES": '{"mobile": 3}'}, "Must be one of alphanumeric"),
        ({"LANDLINE_LOG_FORMAT": "xml"}, "Must be one of console, json, not 'xml'"),
        ({"LANDLINE_PROT": "1"}, "the setting LANDLINE_PROT, which there is not (did you mean LANDLINE_PORT?)"),
        ({"LANDLINE_XYZZY": "1"}, "the setting LANDLINE_XYZZY, which there is not: docs"),
        ({"LANDLINE_CARRIERS": '[{"passwd": "a"}]'}, "unknown field `passwd` (did you mean `password`?)"),
        (
            {"LANDLINE_CARRIERS": '[{"kind": "smpp", "name": "a", "host": "a", "port": 1, "system_id": "a", '
             '"long_style": "udh"}]'},
            "carrier a: long_style: Must be one of udh8, udh16, sar, payload, not 'udh'",
        ),
    ],
)  # fmt: skip
def test_a_configuration_is_told_the_values_there_are(settings: dict[str, str], said: str) -> None:
    with pytest.raises(CannotConfigure) as refusal:
        load("dev", environment=settings, flags={})
    assert said in refusal.value.message


@pytest.mark.parametrize("name", ["` - at `$" * 100_000 + "\n", " - at `$.x" * 100_000 + "\n`", "`" * 900_000 + "\n"])
def test_an_unknown_name_is_looked_through_once(name: str) -> None:
    """Not once for each place where it could end: a request of a megabyte held the server for an hour."""
    with pytest.raises(Invalid, match="unknown field"):
        decode(msgspec.json.encode({name: 1}), msgspec.json.Decoder(Plain))
    with pytest.raises(Invalid, match="unknown field"):
        decode(msgspec.json.encode({"inner": {name: 1}}), msgspec.json.Decoder(Plain))


def test_a_field_nearly_as_it_is_called_is_found_below_others_too() -> None:
    with pytest.raises(Invalid) as refusal:
        decode(b'{"inner": {"colours": 1}}', msgspec.json.Decoder(Plain))
    assert refusal.value.message == "Object contains unknown field `colours` (did you mean `colour`?)"
    assert refusal.value.target == "inner"


def test_what_is_long_is_told_in_part_and_nothing_is_like_it() -> None:
    long = "colour" * 150_000
    for body, kind, target in (
        ({long: 1}, Plain, "body"),
        ({"inner": {long: 1}}, Plain, "inner"),
        ({"firstCoat": long}, Pot, "firstCoat"),
        ({"firstCoat": "two\nlines " + long}, Pot, "firstCoat"),
        ({"prices": {long: 1}}, Pot, "body"),
    ):
        with pytest.raises(Invalid) as refusal:
            decode(msgspec.json.encode(body), msgspec.json.Decoder(kind))
        assert len(refusal.value.message) < 200
        assert "did you mean" not in refusal.value.message
        assert refusal.value.target == target


def test_a_long_name_is_compared_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(decode_errors, "get_close_matches", lambda name, *_: compared.append(name) or [])
    assert decode_errors.nearest("colour" * 100, ["colour"]) is None
    assert decode_errors.nearest("colours", ["colour"]) is None
    assert compared == ["colours"]
