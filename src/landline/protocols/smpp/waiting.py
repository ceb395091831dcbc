"""Requests that wait for their responses, each with its timer; and what a response to one says."""

from collections import OrderedDict
from typing import TypeAlias

from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import Command
from landline.protocols.smpp.events import Answered

_NACK = int(Command.GENERIC_NACK)

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


def forget_late(late: OrderedDict[int, tuple[float, object]], limit: int, now: float) -> None:
    """Keep the last `limit` of those that are too late, each until its instant."""
    while late and (len(late) > limit or late[next(iter(late))][0] <= now):
        late.popitem(last=False)


def answered(asked: int, context: object, frame: bytes, command: int, state: int) -> Answered:
    """The response `frame` to a submit_sm, deliver_sm or data_sm."""
    if command == _NACK:
        return Answered(asked, context, of_nack(state))
    return Answered(asked, context, state, pdu.message_id(frame))


def of_nack(state: int) -> int:
    """A generic_nack is a refusal, though some say ESME_ROK in it."""
    return state or status.ESME_RUNKNOWNERR
