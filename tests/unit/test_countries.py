"""The country of a number agrees with the numbering plans it is made of (`phonenumbers`)."""

from random import Random

import phonenumbers
import pytest

from landline.core import countries
from landline.core.countries import country


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        ("+14255550100", "US"),
        ("+14165550100", "CA"),
        ("+18765550100", "JM"),
        ("+18005550100", "US"),
        ("+13105550100", "US"),
        ("+16005550100", "CA"),
        ("+19995550100", "US"),  # in nobody's ranges: the main country of the code
        ("+447911123456", "GG"),
        ("+447797712345", "JE"),
        ("+447400123456", "GB"),
        ("+390669812345", "VA"),
        ("+393123456789", "IT"),
        ("+77011234567", "KZ"),
        ("+79161234567", "RU"),
        ("+4915112345678", "DE"),
        ("+35818123456", "AX"),
    ],
)
def test_a_numbers_country_is_told_by_its_prefix(number: str, wanted: str) -> None:
    assert country(number) == wanted


@pytest.mark.parametrize(
    "number", ["", "+", "+1", "55501", "LANDLINE", "+88161234567", "+9991234567", "+0123456", "+１２３"]
)
def test_what_has_no_country_is_unknown_and_leaves_no_trace(number: str) -> None:
    assert country(number) == "ZZ"
    assert all(len(key) == 4 and key[1:].isascii() and key[1:].isdigit() for key in countries._table)


def examples() -> list[str]:
    kinds = phonenumbers.PhoneNumberType.values()
    found = [
        phonenumbers.example_number_for_type(region, kind)
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in kinds
    ]
    texts = [phonenumbers.format_number(each, phonenumbers.PhoneNumberFormat.E164) for each in found if each]
    return [text for text in texts if text != "+13101234"]  # Canada's 310-XXXX is dialled without an area code


def test_every_example_of_the_numbering_plans_is_where_they_say() -> None:
    numbers = examples()
    assert len(numbers) > 1000
    assert [number for number in numbers if country(number) != _by_plan(number)] == []


SHARED = {"1": 10, "7": 10, "447": 9, "441": 9, "390": 9, "47": 8, "618": 8, "614": 8, "212": 9, "262": 9, "290": 4}
MIXED = SHARED | {"35818": 6, "590": 9, "599": 7}


@pytest.mark.parametrize("prefix", MIXED)
def test_valid_numbers_of_shared_codes_are_told_apart(prefix: str) -> None:
    chance = Random(prefix)
    drawn = [f"+{prefix}{chance.randrange(10 ** MIXED[prefix]):0{MIXED[prefix]}}" for _ in range(1500)]
    valid = [number for number in drawn if _by_plan(number) is not None]
    assert valid
    wrong = [number for number in valid if country(number) != _by_plan(number)]
    assert len(wrong) <= len(valid) // 200, wrong  # ranges that two islands claim by different lengths of prefix


def test_the_table_never_grows_beyond_its_keys() -> None:
    chance = Random(1)
    for _ in range(5000):
        country(f"+{chance.randrange(10**6, 10**12)}")
    assert len(countries._table) <= 1000


def _by_plan(number: str) -> str | None:
    return phonenumbers.region_code_for_number(phonenumbers.parse(number))
