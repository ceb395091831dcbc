"""What a test gave us, looked at where it was given: what is wrong with it would be told much later, or never."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isnan
from typing import Any


def seconds(name: str, value: Any) -> float:
    """A time to wait. Raises `TypeError`, `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if isnan(value):
        raise ValueError(f"{name} is a number of seconds, not {value!r}")
    return value


def whole(name: str, value: Any) -> int:
    """Raises `TypeError`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    return value


def count(name: str, value: Any) -> int:
    """How many, or how often. Raises `TypeError`, `ValueError`."""
    if whole(name, value) < 0:
        raise ValueError(f"{name} is 0 or more, not {value}")
    return value


def judge(name: str, value: Any) -> None:
    """A function that says which one is meant, or None for any. Raises `TypeError`."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} is a function that takes one and says whether it fits, not {value!r}")


def text(name: str, value: Any, *, such_as: str) -> str:
    """Raises `TypeError`, `ValueError`."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is a str such as {such_as!r}, not {value!r}")
    if not value:
        raise ValueError(f"{name} is empty: give one such as {such_as!r}")
    return value


def texts(name: str, value: Sequence[Any]) -> list[str]:
    """Several, of which one alone is a list, too. Raises `TypeError`."""
    if isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"{name} is a list of str, not {value!r}")
    return list(value)


def variables(name: str, value: Mapping[str, Any]) -> dict[str, str]:
    """Of an environment. Raises `TypeError`."""
    for variable, content in value.items():
        if not isinstance(content, str):
            raise TypeError(f"{name}: {variable} is a str, not {content!r}")
    return dict(value)


def instant(name: str, value: Any) -> datetime | None:
    """Raises `TypeError`."""
    if value is not None and not isinstance(value, datetime):
        raise TypeError(f"{name} is a datetime, not {value!r}")
    return value
