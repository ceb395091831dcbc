"""What many rows share, told once: a statement that takes arrays is given the shared values and which of the rows have
them, and so neither side handles a value for each row."""

from collections.abc import Callable, Hashable, Iterable
from itertools import accumulate
from typing import Generic, TypeVar

from msgspec import Struct

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Shared(Struct, Generic[K, T]):
    """The `rows`, those with the same of `keys` beside each other: for each key the places of the `first` and the
    `last` of them, counted from 1 as PostgreSQL does, which takes them as `(array)[first:last]`."""

    keys: list[K]
    first: list[int]
    last: list[int]
    rows: list[T]


def shared(rows: Iterable[T], key: Callable[[T], K]) -> Shared[K, T]:
    """`rows` by their `key`, keys in the order in which they come first."""
    groups: dict[K, list[T]] = {}
    for row in rows:
        of = key(row)
        group = groups.get(of)
        if group is None:
            groups[of] = [row]
        else:
            group.append(row)
    last = list(accumulate(map(len, groups.values())))
    first = [1, *(end + 1 for end in last[:-1])] if last else []
    return Shared(list(groups), first, last, [row for group in groups.values() for row in group])
