"""Phone numbers as values: E.164 (ITU-T E.164 §6: at most 15 digits), short codes and alphanumeric sender names."""

import re
from enum import Enum
from typing import NewType

Phone = NewType("Phone", str)
"""An E.164 number with its `+`; made only by `parse`."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_OF_A_PLAN = re.compile(r"\+(?:1[0-9]{6,10}|[2-9][0-9]{6,14})")
"""Numbers of country code 1 have at most ten digits more; seven where they have no area code (+1 310 1234, Canada)."""
_SHORT_CODE = re.compile(r"[0-9]{5,6}")
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +\-_&]{1,11}")
_MOST_HIDDEN = 20
_NANP_TOLL_FREE = ("+1800", "+1833", "+1844", "+1855", "+1866", "+1877", "+1888")


class SenderKind(Enum):
    """What kind of sender a `from` is; ACS ties limits and opt-out handling to it (acs-wire.md 4.5)."""

    TOLL_FREE = "tollFree"
    SHORT_CODE = "shortCode"
    GEOGRAPHIC = "geographic"
    MOBILE = "mobile"
    ALPHANUMERIC = "alphanumeric"


def parse(text: str) -> Phone | None:
    """The E.164 number that `text` is, or None. Only the form is checked, not whether the number is assigned."""
    return Phone(text) if _OF_A_PLAN.fullmatch(text) else None


def has_form(text: str) -> bool:
    """Whether `text` is written as an E.164 number is; of country code 1 it may be longer than any is."""
    return _E164.fullmatch(text) is not None


def sender_kind(sender: str) -> SenderKind | None:
    """The kind of sender that `sender` can be by its form, or None when it cannot be one."""
    if _E164.fullmatch(sender):
        return SenderKind.TOLL_FREE if sender.startswith(_NANP_TOLL_FREE) else SenderKind.GEOGRAPHIC
    if _SHORT_CODE.fullmatch(sender):
        return SenderKind.SHORT_CODE
    return SenderKind.ALPHANUMERIC if _ALPHANUMERIC.fullmatch(sender) else None


def redacted(number: str) -> str:
    """`number` with all but its last two characters hidden: the only form of it that may reach a log. Carriers may
    bring addresses of thousands of characters, which are all told as one."""
    return "*" * min(max(len(number) - 2, 0), _MOST_HIDDEN) + number[-2:]
