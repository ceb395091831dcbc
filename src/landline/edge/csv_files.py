"""Reads CSV files that operators bring over the admin API: a header, and all lines or none."""

import csv
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import TypeVar

from landline.core.errors import Invalid

T = TypeVar("T")
_SHOWN = 20


def text(body: bytes) -> str:
    """A file's text, without the mark that spreadsheets begin it with (U+FEFF). Raises `Invalid`."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("The file is not UTF-8.", target="csv") from None


def read(
    text: str,
    columns: Callable[[Sequence[str]], list[str]],
    value: Callable[[Mapping[str | None, object], int], T],
    *,
    at_most: int,
    what: str,
    done: str,
) -> list[T]:
    """What `value` makes of each row (and its line) of `text`, whose columns `columns` finds in the first line's names;
    both may raise `Invalid`. Raises `Invalid`, by line, for up to 20 bad lines, and that nothing was `done`."""
    if "\0" in text:
        raise Invalid("The file may not hold the character NUL.", target="csv")
    rows = csv.DictReader(StringIO(text), strict=True)
    found: list[T] = []
    errors: dict[str, list[str]] = {}
    try:
        rows.fieldnames = columns([name.strip() for name in rows.fieldnames or ()])
        for row in rows:
            try:
                if None in row:
                    raise Invalid("more values than the first line has columns", target="line")
                found.append(value(row, rows.line_num))
            except Invalid as error:
                errors[f"line {rows.line_num}"] = [f"{error.target}: {error.message}"]
            if len(errors) >= _SHOWN or len(found) > at_most:
                break
    except csv.Error as error:
        raise Invalid(f"Line {rows.line_num or 1} is not CSV: {error}.", target="csv") from None
    if len(found) > at_most:
        raise Invalid(f"At most {at_most} {what} at once.", target="csv")
    if errors:
        line, messages = next(iter(errors.items()))
        raise Invalid(f"Nothing was {done}. {line}: {messages[0]}", target="csv", errors=errors)
    return found
