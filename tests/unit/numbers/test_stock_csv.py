"""Files of numbers: whatever is in one, it is read whole or refused with a reason."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Invalid
from landline.services.numbers import stock_csv
from landline.services.numbers.stock_csv import AT_MOST, COLUMNS

CELLS = st.one_of(
    st.sampled_from(
        ["", "+12062345678", "55512", "US", "tollFree", "both", "outbound", "1.5", "yes", "person|application"]
    ),
    st.text(max_size=12),
)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Invalid):
        assert len(stock_csv.read(text)) <= AT_MOST


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, CELLS)), max_size=4))
def test_any_cells_are_read_or_refused(rows: list[dict[str, str]]) -> None:
    lines = [",".join(f'"{row[name]}"' for name in COLUMNS) for row in rows]
    with suppress(Invalid):
        for number in stock_csv.read("\n".join([",".join(COLUMNS), *lines])):
            assert number.assignments
            assert number.cost.amount >= 0


def test_a_country_that_is_none_is_told_by_its_column() -> None:
    with pytest.raises(Invalid, match=r"line 2: country: Must be a country's two letters"):
        stock_csv.read("number,country\n+12065550100,USA\n")


@given(st.text(max_size=18), st.text(max_size=18))
def test_any_range_is_read_or_refused(first: str, last: str) -> None:
    with suppress(Invalid):
        found = stock_csv.read_range(first, last, {})
        assert (found[0].number, found[-1].number) == (first, last)
