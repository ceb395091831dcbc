"""Direct routing as values: merge patches against the RFC's own algorithm, patterns, which routes a number takes."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Invalid
from landline.services.siprouting import model, patterns
from landline.services.siprouting.model import BadConfiguration, Configuration, Patch, Route, patched, taken

FQDNS = st.sampled_from([f"{name}.example.org" for name in "abcdef"])
TRUNKS = st.dictionaries(FQDNS, st.integers(1, 65535), max_size=6)
CHANGES = st.dictionaries(FQDNS, st.none() | st.integers(1, 65535), min_size=1, max_size=6)


def merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396 §2 for one level."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


@given(TRUNKS, CHANGES)
def test_trunks_change_as_a_merge_patch_says(trunks: dict[str, int], changes: dict[str, int | None]) -> None:
    patch = Patch(
        {fqdn: port for fqdn, port in changes.items() if port is not None},
        frozenset(fqdn for fqdn, port in changes.items() if port is None),
    )
    assert patched(Configuration(trunks), patch).trunks == merged(trunks, changes)


@given(TRUNKS, CHANGES, st.lists(FQDNS, max_size=6, unique=True))
def test_no_patch_leaves_a_route_to_a_missing_trunk(
    trunks: dict[str, int], changes: dict[str, int | None], targets: list[str]
) -> None:
    route = Route("r", "1", trunks=tuple(targets))
    patch = Patch(drop_trunks=frozenset(fqdn for fqdn, port in changes.items() if port is None), routes=(route,))
    if set(targets) <= trunks.keys() - patch.drop_trunks:
        assert set(targets) <= patched(Configuration(trunks), patch).trunks.keys()
        return
    with pytest.raises(BadConfiguration) as refused:
        patched(Configuration(trunks), patch)
    assert refused.value.inner is not None
    assert refused.value.inner[0] == "MissingTrunk"


def test_names_of_trunks_have_no_case() -> None:
    present = Configuration({"SBC.example.org": 5061})
    changed = patched(present, Patch({"sbc.EXAMPLE.org": 5062}, routes=(Route("r", "1", trunks=("sbc.example.org",)),)))
    assert changed.trunks == {"SBC.example.org": 5062}
    assert changed.routes[0].trunks == ("SBC.example.org",)
    assert patched(present, Patch(drop_trunks=frozenset({"sbc.example.ORG"}))).trunks == {}


def test_a_trunk_keeps_the_port_that_a_patch_does_not_name() -> None:
    assert (
        patched(Configuration({"a.example.org": 5061}), Patch({"a.example.org": None})).trunks["a.example.org"] == 5061
    )


@pytest.mark.parametrize(
    ("pattern", "number", "found"),
    [
        (r"^\+1(425|206)(\d{7})$", "+14255550123", True),
        (r"^\+1(425|206)(\d{7})$", "+142555501234", False),
        ("^+[1-9][0-9]{3,23}$", "+14255550123", True),
        ("^+[1-9][0-9]{3,23}$", "14255550123", False),
        (r"^\+?1", "1425", True),
        ("555", "+14255550123", True),
        ("^112$", "112", True),
    ],
)
def test_patterns_match_as_they_are_written(pattern: str, number: str, found: bool) -> None:
    assert patterns.matches(pattern, number) is found


@given(
    st.text(alphabet=r"()[]{}*+?|\.^$0123456789d,-:=!<>a", max_size=60),
    st.from_regex(r"\+?[0-9]{1,24}", fullmatch=True),
)
def test_any_pattern_is_refused_or_answers(pattern: str, number: str) -> None:
    with suppress(patterns.Unusable):
        patterns.check(pattern)
        assert patterns.matches(pattern, number) in {True, False}


def test_a_number_takes_the_routes_that_match_and_have_trunks_in_their_order() -> None:
    routes = (
        Route("none", ".*"),
        Route("two", "^2", trunks=("a.example.org",)),
        Route("all", "", trunks=("a.example.org",)),
        Route("one", "^1", trunks=("a.example.org",)),
    )
    assert [route.name for route in taken(Configuration({"a.example.org": 1}, routes), "12")] == ["all", "one"]


@pytest.mark.parametrize("number", ["", "+", "sip:1@a", "1 2", "1" * 25, "١٢٣", "1\n"])
def test_what_nobody_can_dial_is_refused(number: str) -> None:
    with pytest.raises(Invalid):
        taken(Configuration(), number)


def test_limits_are_the_sdks() -> None:
    assert (model.TRUNKS, model.FQDN_CHARACTERS) == (250, 249)
