"""Requests that wait for their responses, each with its timer."""

from typing import TypeAlias

Waiting: TypeAlias = dict[int, tuple[int, float, object]]
"""(command, end of its timer, context) by sequence number; all with one timer, so in the order in which they end."""


def first_end(waiting: Waiting) -> list[float]:
    """When the first of them ends, if there is any."""
    for _, ends, _ in waiting.values():
        return [ends]
    return []


def overdue(waiting: Waiting, now: float) -> list[int]:
    """The sequence numbers of those that have ended."""
    overdue: list[int] = []
    for sequence, (_, ends, _) in waiting.items():
        if ends > now:
            break
        overdue.append(sequence)
    return overdue
