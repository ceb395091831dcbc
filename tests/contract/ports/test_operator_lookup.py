"""The port OperatorLookup over its engine, and the service in front of any engine, also of one that hangs."""

import asyncio

import pytest

from landline.core.errors import Invalid, Unavailable
from landline.core.phone import Phone
from landline.engines.numbering_plans import NumberingPlans
from landline.ports.operator_lookup import LineType, NumberOperator, OperatorLookup
from landline.services.numbers.lookup import Lookup


@pytest.fixture(params=[NumberingPlans])
def operators(request: pytest.FixtureRequest) -> OperatorLookup:
    return request.param()


@pytest.mark.parametrize(
    ("number", "kind", "country"),
    [
        ("+447400123456", LineType.MOBILE, "GB"),
        ("+442071838750", LineType.GEOGRAPHIC, "GB"),
        ("+14255550123", LineType.GEOGRAPHIC, "US"),
        ("+18332345678", LineType.OTHER, "US"),
        ("+80012345678", LineType.OTHER, None),
        ("+14251", LineType.UNKNOWN, None),
        ("+999123456789", LineType.UNKNOWN, None),
    ],
)
async def test_what_is_known_is_told_and_nothing_known_is_an_answer(
    operators: OperatorLookup, number: str, kind: LineType, country: str | None
) -> None:
    found = await operators.look_up(Phone(number))
    assert (found.line_type, found.country) == (kind, country)
    assert found == await operators.look_up(Phone(number))


async def test_a_mobile_number_has_its_operators_name(operators: OperatorLookup) -> None:
    assert (await operators.look_up(Phone("+447400123456"))).name == "Three"


class Silent:
    """An engine whose provider never answers."""

    async def look_up(self, number: Phone) -> NumberOperator:
        await asyncio.Event().wait()
        raise AssertionError(number)


async def test_a_provider_that_hangs_is_given_up_and_asked_only_for_details() -> None:
    lookup = Lookup(Silent(), timeout_s=0.01)
    plain = await lookup.look_up("+447400123456", details=False)
    assert (plain.national, plain.international, plain.operator) == ("07400 123456", "+44 7400 123456", None)
    with pytest.raises(Unavailable):
        await lookup.look_up("+447400123456", details=True)
    for wrong in ("", "447400123456", "+44 7400", "+999123456789", "+" + "1" * 16):
        with pytest.raises(Invalid):
            await lookup.look_up(wrong, details=True)
