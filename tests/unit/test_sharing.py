"""What rows share is told once, and every row is found again in its place."""

from hypothesis import given
from hypothesis import strategies as st

from landline.store.sharing import shared


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_each_row_is_in_the_slice_of_its_key(rows: list[tuple[str, int]]):
    alike = shared(rows, lambda row: row[0])
    slices = [alike.rows[first - 1 : last] for first, last in zip(alike.first, alike.last, strict=True)]
    assert alike.keys == list(dict.fromkeys(key for key, _ in rows))
    assert slices == [[row for row in rows if row[0] == key] for key in alike.keys]
