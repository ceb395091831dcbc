"""SMS settings as documents: the merge patch of RFC 7396, and what the product has where nothing is set."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Invalid
from landline.services.sms.model import settings as model
from landline.services.sms.model.settings import merged

VALUES = st.recursive(st.integers() | st.text(max_size=2) | st.none(), lambda inner: st.lists(inner, max_size=2))
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | VALUES, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [  # RFC 7396 appendix A, those between objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_is_applied_as_the_standard_has_it(
    target: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert merged(target, patch) == expected


@given(DOCUMENTS, DOCUMENTS)
def test_a_merge_patch_applied_twice_is_applied_once(target: dict[str, Any], patch: dict[str, Any]) -> None:
    try:
        once = merged(target, patch)
    except Invalid:
        return  # too deep
    assert merged(once, patch) == once


def test_what_nests_deeper_than_settings_do_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"a": deep}
    with pytest.raises(Invalid):
        merged({}, deep)


def test_countries_are_put_in_order_and_what_is_none_is_named() -> None:
    assert model.checked_countries(("us", "DE", "US")) == ("DE", "US")
    assert model.checked_countries(("US", "*")) == ("*",)
    assert model.checked_countries(("ZZ",)) == ("ZZ",)
    assert model.checked_countries(()) == ()
    with pytest.raises(Invalid, match="UK, XX") as refused:
        model.checked_countries(("US", "UK", "XX"))
    assert refused.value.target == "allowedCountries"


@pytest.mark.parametrize("guarded", [True, False])
def test_defaults_are_settings_like_any_other(guarded: bool) -> None:
    found = model.defaults(guarded=guarded, countries=("US",))
    assert model.DECODER.decode(msgspec.json.encode(found)) == found
    assert (found.velocity.enabled, found.sequential.enabled) == (guarded, guarded)
    assert model.defaults(guarded=guarded, countries=(), acs_limits=guarded).acs_limits is guarded
