"""Price lists: the longest prefix decides, and files with a bad line say which."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Invalid
from landline.services.sms import price_csv
from landline.services.sms.model.prices import Price, PriceList, checked_amount, checked_prefix

PRICES = (
    Price("north", "+", 90_000),
    Price("north", "+1", 7_500),
    Price("north", "+1242", 60_000),
    Price("north", "+49", 0),
    Price("south", "+1", 8_000),
)
US, BAHAMAS, GERMANY, FRANCE = "+14255550100", "+12425550100", "+4915112345678", "+33612345678"


def test_the_longest_prefix_decides_and_plus_alone_is_for_all_others() -> None:
    prices = PriceList(PRICES)
    for _ in range(2):  # looked up, and remembered
        assert [prices.of("north", number) for number in (US, BAHAMAS, GERMANY, FRANCE)] == [7_500, 60_000, 0, 90_000]
        assert [prices.of("south", number) for number in (US, BAHAMAS, FRANCE)] == [8_000, 8_000, None]
        assert prices.of("west", US) is None


def test_a_list_without_prices_is_none() -> None:
    assert not PriceList()
    assert PriceList(PRICES)
    assert PriceList().of("north", US) is None


_DIGITS = st.text("0123", min_size=0, max_size=4)


@given(st.dictionaries(_DIGITS.map(lambda rest: f"+1{rest}"), st.integers(0, 10**6), min_size=1), st.lists(_DIGITS))
def test_what_is_found_is_the_price_of_the_longest_prefix_of_the_number(
    by_prefix: dict[str, int], numbers: list[str]
) -> None:
    prices = PriceList(Price("north", prefix, micros) for prefix, micros in by_prefix.items())
    for rest in numbers:
        number = f"+1{rest}555010"
        fitting = [prefix for prefix in by_prefix if number.startswith(prefix)]
        wanted = by_prefix[max(fitting, key=len)] if fitting else None
        assert prices.of("north", number) == wanted


@pytest.mark.parametrize(("text", "prefix"), [("", "+"), ("+", "+"), ("+1", "+1"), ("4479", "+4479")])
def test_prefixes_are_taken_with_and_without_their_plus(text: str, prefix: str) -> None:
    assert checked_prefix(text) == prefix


@pytest.mark.parametrize("text", ["+0", "++1", "+1 425", "1-425", "+1425555010012345", "*", "+١"])
def test_what_no_number_begins_with_is_no_prefix(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_prefix(text)
    assert refused.value.target == "prefix"


@pytest.mark.parametrize("text", ["-0.01", "0.0000001", "1000000.000001", "NaN", "Infinity"])
def test_a_price_is_an_amount_of_at_most_six_decimals(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_amount(Decimal(text))
    assert refused.value.target == "price"
    assert checked_amount(Decimal("1000000")) == 10**12


def test_a_file_has_its_columns_in_any_order_and_a_plus_or_none() -> None:
    found = price_csv.read("price, prefix ,carrier\r\n0.0075,1,north\r\n0.06,+1242,north\r\n0.09,,north\r\n", None)
    assert found == [Price("north", "+1", 7_500), Price("north", "+1242", 60_000), Price("north", "+", 90_000)]
    assert price_csv.read("prefix,price\n+1,0.008\n", "south") == [Price("south", "+1", 8_000)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("carrier,prefix,price\nnorth,+1,0.01\nnorth,+x,0.01\nnorth,+2,-1\n", "Nothing was changed. line 3: prefix: "),
        ("carrier,prefix,price\nnorth,+1,cheap\n", "line 2: price: Must be an amount"),
        ("carrier,prefix,price\nnorth,+1,\n", "line 2: price: Must be an amount"),
        ("carrier,prefix,price\nnorth,+1,0_0075\n", "line 2: price: Must be an amount"),
        ("carrier,prefix,price\nnorth,+1,٠.٠٠٧٥\n", "line 2: price: Must be an amount"),
        ("carrier,prefix,price\nnorth,+1\n", "line 2: price: Must be an amount"),
        ('carrier,prefix,price\nnorth,+1,"0,0075"\n', "line 2: price: Must be an amount"),
        ("carrier,prefix,price\nnorth,+1,0,0075\n", "line 2: line: more values"),
        ("carrier,prefix,price\n,+1,1\n", "line 2: carrier: Must name"),
        ("carrier,prefix,price\nnorth,+1,1\nnorth,1,2\n", "line 3: prefix: +1 of north is on line 2 already"),
        ("prefix,price\n+1,1\n", "The first line names"),
        ("carrier,prefix,price,cost\n", "The first line names"),
        ("", "The first line names"),
        ('carrier,prefix,price\n"north,+1,1\n', "is not CSV"),
        ("carrier,prefix,price\nnorth,+1\0,1\n", "NUL"),
    ],
)
def test_a_file_with_a_bad_line_says_which(lines: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        price_csv.read(lines, None)
    assert said in refused.value.message


def test_a_file_that_names_carriers_is_not_of_one_carrier() -> None:
    with pytest.raises(Invalid) as refused:
        price_csv.read("carrier,prefix,price\nnorth,+1,1\n", "south")
    assert refused.value.target == "carrier"
