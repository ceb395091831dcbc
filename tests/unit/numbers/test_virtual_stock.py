"""The virtual stock: every number in it is one its country's plan knows, of the kind and place that was wanted."""

from random import Random

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core import phone
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.services.numbers.model import Directions, owned
from landline.services.numbers.offers import Assignment, InvalidInput, Want, digits, number_of
from landline.services.numbers.parameters import NIL
from landline.services.numbers.virtual import AREAS, TERMS, Area, VirtualStock

KINDS = {
    SenderKind.TOLL_FREE: {phonenumbers.PhoneNumberType.TOLL_FREE},
    SenderKind.MOBILE: {phonenumbers.PhoneNumberType.MOBILE},
    SenderKind.GEOGRAPHIC: {
        phonenumbers.PhoneNumberType.FIXED_LINE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
    },
}
DIRECTIONS = st.sampled_from(Directions)


@pytest.mark.parametrize("area", AREAS, ids=lambda area: f"{area.country}-{area.prefix}-{area.kind.value}")
def test_each_area_has_numbers_of_its_country_and_kind(area: Area) -> None:
    stock = VirtualStock(Random(7))
    found = stock.offers(Want(area.country, area.kind, area_code=area.code), 20)
    assert len({offer.number for offer in found}) == 20
    for offer in found:
        assert digits(offer.number).startswith(area.prefix)
        assert (
            owned(ResourceId(NIL), offer.number, kind=area.kind, sms=None, calling=None, carrier=None).kind is area.kind
        )
        if area.kind is SenderKind.SHORT_CODE:
            assert phone.sender_kind(offer.number) is SenderKind.SHORT_CODE
            continue
        parsed = phonenumbers.parse(offer.number)
        assert phonenumbers.is_valid_number(parsed)
        assert phonenumbers.number_type(parsed) in KINDS[area.kind]
        region = phonenumbers.region_code_for_number(parsed)
        assert region == area.country or (area.kind is SenderKind.TOLL_FREE and area.country == "CA")


@given(
    seed=st.integers(),
    area=st.sampled_from(AREAS),
    assignment=st.sampled_from([None, Assignment.APPLICATION]),
    sms=DIRECTIONS,
    calling=DIRECTIONS,
    count=st.integers(1, 60),
)
def test_what_is_offered_is_what_was_wanted_and_is_found_again(
    seed: int, area: Area, assignment: Assignment | None, sms: Directions, calling: Directions, count: int
) -> None:
    stock = VirtualStock(Random(seed))
    want = Want(area.country, area.kind, assignment, sms, calling)
    offers = stock.offers(want, count)
    assert len(offers) in (0, count)
    assert bool(offers) == any(terms.meet(want) for terms in TERMS)
    for offer in offers:
        assert offer.terms.meet(want)
        assert offer.asking(sms, calling).sms is sms
        assert VirtualStock(Random(0)).find(offer.number, want) == offer


@given(
    st.sampled_from([area for area in AREAS if area.kind is SenderKind.GEOGRAPHIC]), st.integers(0, 4), st.integers()
)
def test_prefixes_shorter_and_longer_than_an_area_code_are_kept(area: Area, length: int, seed: int) -> None:
    stock = VirtualStock(Random(seed))
    plain = stock.offers(Want(area.country, area.kind, area_code=area.code), 1)[0]
    prefix = digits(plain.number)[: len(area.prefix) - 1 + length]
    found = stock.offers(Want(area.country, area.kind, prefixes=(prefix,)), 5)
    assert found
    assert all(digits(offer.number).startswith(prefix) for offer in found)


@given(st.text(max_size=20))
def test_no_other_text_is_in_stock(text: str) -> None:
    for area in (AREAS[0], AREAS[-1]):
        found = VirtualStock(Random(0)).find(text, Want(area.country, area.kind))
        assert found is None or phone.sender_kind(text) is not None


@given(st.text(max_size=20))
def test_an_id_and_its_number_are_one(text: str) -> None:
    number = number_of(text)
    assert number_of(digits(number)) == number or not digits(number).isdigit()


@given(DIRECTIONS, DIRECTIONS)
def test_one_capability_covers_another_way_by_way(most: Directions, wanted: Directions) -> None:
    covers = {way for way in ("inbound", "outbound") if getattr(most, way)} >= {
        way for way in ("inbound", "outbound") if getattr(wanted, way)
    }
    assert most.covers(wanted) is covers


def test_toll_free_numbers_are_not_for_persons() -> None:
    with pytest.raises(InvalidInput):
        Want("US", SenderKind.TOLL_FREE, Assignment.PERSON)
