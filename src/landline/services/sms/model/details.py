"""The detail codes of delivery reports (acs-wire.md 4.7) and how a report words them."""

NO_ERROR = 2000
OPTED_OUT = 4007
NOT_ENTITLED = 4009
TEMPORARILY_UNAVAILABLE = 5001
NO_REPORT = 5002
UNKNOWN = 9999
CANCELED = 5000
"""ACS has no code for what its own sender took back."""

OF_THE_MESSAGE = frozenset({4000, 4001, 4002, 4004, 4007, 4009, 4010})
"""What is wrong with the message itself, so that no other carrier would do better."""

MAY_HAVE_ARRIVED = frozenset({NO_REPORT, UNKNOWN})
"""Failures that only say that nothing was heard of the message."""

_WORDS = {
    2000: "No Error",
    4000: "Message rejected as fraudulent.",
    4001: "The sender's number has an invalid format.",
    4002: "The recipient's number has an invalid format.",
    4003: "The destination is not supported.",
    4004: "The recipient's number does not exist.",
    4005: "Blocked by the destination carrier.",
    4006: "The recipient cannot be reached.",
    4007: "Sender blocked for given recipient.",
    4008: "A sending limit was exceeded.",
    4009: "The sender is not entitled to send this message.",
    4010: "The toll-free number is not verified.",
    5000: "The message could not be delivered; ask the operator.",
    5001: "The destination was temporarily unavailable.",
    5002: "No delivery report came from the carrier in time.",
    9999: "The message could not be delivered for an unknown reason.",
}


def words(code: int) -> str:
    """`deliveryStatusDetails` for `code`: the code, then what it means."""
    return f"{code}: {_WORDS.get(code, _WORDS[UNKNOWN])}"


def of_a_failure(code: int) -> bool:
    """Whether reports of failure have `code`."""
    return code in _WORDS and code != NO_ERROR


def known(code: int) -> int:
    """`code` when reports have it, else 9999."""
    return code if code in _WORDS else UNKNOWN
