"""Number patterns: regular expressions that customers write, so matched by RE2, whose time grows with the text alone.

What only a backtracking engine can do (look-around, back references) is refused where the pattern is set.
"""

from functools import lru_cache
from typing import Any, Final

import re2

_MEMORY_BYTES: Final = 256 * 1024  # of one compiled pattern with all it caches; 1,024 characters need a tenth of it
_COMPILED: Final = 256


class Unusable(Exception):
    """The pattern is none, or needs more than linear time or the memory we give it. The message says which."""


def check(pattern: str) -> None:
    """Raises `Unusable` when no number can be matched with `pattern`."""
    if not pattern:
        raise Unusable("it is empty")
    _compiled(pattern)


def matches(pattern: str, number: str) -> bool:
    """Whether `pattern` is found in `number` (anchors are the pattern's own business), in time linear in `number`."""
    return _compiled(pattern).search(number) is not None


@lru_cache(_COMPILED)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    options.never_capture = True
    # The public documentation and every sample write "^+" for a leading plus sign. A repeated anchor can mean nothing
    # else, and .NET and RE2 would both take it for a plain "^", which no number in E.164 then matches.
    meant = "^\\+" + pattern.removeprefix("^+") if pattern.startswith("^+") else pattern
    try:
        return re2.compile(meant, options=options)
    except re2.error as error:
        raise Unusable(_reason(error)) from None


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
