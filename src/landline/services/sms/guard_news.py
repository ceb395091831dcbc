"""What the guards of several processes tell one another: which numbers they let pass. Lossy, as the bus is: a limit is
then reached a little later. Told in portions, so that a message costs no news of its own."""

import asyncio
import os
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec
import structlog

from landline.core.ids import ResourceId
from landline.ports.bus import Bus
from landline.services.sms.model.guard import Rule, Rules, Sent, Verdict

SUBJECT = "sms.guarded"
PAUSE_S = 0.02
_PORTION = 2_000
"""Numbers, which are told at once."""

log = structlog.get_logger()


class _Portion(msgspec.Struct, frozen=True, array_like=True):
    process: int
    resource: UUID
    passed: Sent
    undone: Sent | None = None
    """What had passed, and came to no text after all."""


_DECODER = msgspec.msgpack.Decoder(_Portion)


class GuardNews:
    """One process's part in it. `heard` is called with what another one let pass."""

    def __init__(
        self, bus: Bus, heard: Callable[[ResourceId, Sent], None], undone: Callable[[ResourceId, Sent], None]
    ) -> None:
        """`undone` is called with what was heard before and is not to be counted."""
        self._bus = bus
        self._heard = heard
        self._heard_undone = undone
        self._process = int.from_bytes(os.urandom(7))
        self._untold: dict[ResourceId, Sent] = {}
        self._undone: dict[ResourceId, Sent] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def together(self) -> bool:
        """Whether other processes hear of what this one lets pass."""
        return self._bus.together

    async def start(self) -> None:
        """Hear of what others let pass."""
        await self._bus.subscribe(SUBJECT, self._receive)

    def tell(
        self, resource: ResourceId, recipients: Sequence[str], verdicts: Sequence[Verdict | None], rules: Rules
    ) -> None:
        """Have the others count those of `recipients` (E.164) that pass by `verdicts`."""
        told = self._open(self._untold, resource, rules)
        for recipient, verdict in zip(recipients, verdicts, strict=True):
            if verdict is None:
                told.sent.append(int(recipient))
            elif verdict.rule is Rule.SEQUENCE:
                told.asked.append(int(recipient))
        self._soon(len(told.sent) + len(told.asked))

    def undo(self, resource: ResourceId, recipients: Sequence[str], rules: Rules) -> None:
        """Have the others count these no more, which passed and came to no text."""
        told = self._open(self._undone, resource, rules)
        told.sent.extend(map(int, recipients))
        self._soon(len(told.sent))

    def _open(self, portions: dict[ResourceId, Sent], resource: ResourceId, rules: Rules) -> Sent:
        length = rules.prefix_length if rules.per_prefix else 0
        told = portions.get(resource)
        if told is not None and told.prefix_length != length:
            self._flush()
            told = None
        if told is None:
            told = portions[resource] = Sent(length, rules.most_per_recipient, rules.most_per_prefix, [], [])
        return told

    def _soon(self, waiting: int) -> None:
        if waiting >= _PORTION:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._flush)

    def close(self) -> None:
        """Tell what was not told yet."""
        self._flush()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        untold, undone = self._untold.copy(), self._undone.copy()
        self._untold.clear()
        self._undone.clear()
        for resource in untold.keys() | undone.keys():
            less = undone.get(resource)
            passed = untold.get(resource) or Sent(0, 1, 1, [], [])
            if passed.sent or passed.asked or less is not None:
                self._bus.publish(SUBJECT, msgspec.msgpack.encode(_Portion(self._process, resource, passed, less)))

    def _receive(self, data: bytes) -> None:
        portion = _DECODER.decode(data)
        if portion.process != self._process:
            self._heard(ResourceId(portion.resource), portion.passed)
            if portion.undone is not None:
                self._heard_undone(ResourceId(portion.resource), portion.undone)
