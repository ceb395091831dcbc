"""Where is my message: everything that happened to one message, in order, from its rows and its events' deliveries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from landline.core import money
from landline.core.errors import NotFound
from landline.core.ids import ResourceId
from landline.ports.sms_carrier import SmsCarrier
from landline.services.events.model import Try
from landline.services.events.service import Events
from landline.services.sms import records, records_inbound
from landline.services.sms.model import details, messages
from landline.services.sms.model.messages import HALTED, State
from landline.store.database import Connection, Database, Record

_IN_HAND = ("queued", "refused", "unanswered")
"""Last steps of a message that is to be handed over as soon as its carrier takes it."""
Step = dict[str, Any]
"""`{"at": datetime, "what": str, ...}`: what happened and its particulars."""


class Timelines:
    """Reads timelines for the admin API."""

    def __init__(
        self, database: Database, events: Events, carriers: Mapping[str, SmsCarrier], currency: str = "USD"
    ) -> None:
        self._currency = currency
        self._database = database
        self._events = events
        self._carriers = carriers

    async def timeline(self, resources: Sequence[ResourceId], public_id: str) -> dict[str, Any]:
        """The message that `public_id` names, outgoing or received, with its steps. The guid in it is enough: carriers
        know no more of a message. Raises `NotFound`."""
        message_id = messages.parse_public_id(public_id) or _guid(public_id)
        if message_id is None:
            raise _unknown()
        async with self._database.connection() as connection:
            row = await records.find(connection, resources, message_id)
            if row is not None:
                steps = await _outgoing_steps(connection, row)
                head = _outgoing_head(row, steps)
                if row["cost"] is not None:
                    head |= {"cost": money.text(row["cost"]), "currency": self._currency}
                if State(row["state"]) is State.QUEUED and steps[-1]["what"] in _IN_HAND:
                    head |= self._waits(row["carrier"])
            else:
                row = await records_inbound.find(connection, resources, message_id)
                if row is None:
                    raise _unknown()
                steps = _inbound_steps(row)
                head = _inbound_head(row)
        # The carrier's clock is not ours: what follows from what decides the order, then the time.
        tries = [_webhook_step(attempt) for attempt in await self._events.tries(row["resource_id"], message_id)]
        steps += sorted(tries, key=lambda step: step["at"])
        return {**head, "steps": steps}

    def _waits(self, carrier: str) -> Step:
        """What keeps a message from being handed over at this moment, as far as is known here."""
        found = self._carriers.get(carrier)
        if found is None:
            return {"waits": f"There is no carrier {carrier} here: it was in the configuration when this was accepted."}
        if found.reachable and not found.up:
            return {"waits": f"The carrier {carrier} is down. It is asked again every second."}
        return {}

    async def received(self, carrier: str, key: str) -> str | None:
        """The public id of the text that `carrier` brought with `key`; None when it was nobody's."""
        async with self._database.connection() as connection:
            row = await records_inbound.brought(connection, carrier, key)
        return None if row is None else messages.incoming_id(row["message_id"], row["received_at"])


def _guid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _unknown() -> NotFound:
    return NotFound("There is no message with this id.", target="messageId")


def _outgoing_head(row: Record, steps: Sequence[Step]) -> dict[str, Any]:
    state = State(row["state"])
    if state is State.QUEUED and any(step["what"] == "submitted" for step in steps):
        state = State.SUBMITTED
    return {
        "messageId": messages.outgoing_id(row["message_id"], row["accepted_at"]),
        "direction": "outgoing",
        "state": state.name.lower(),
        "from": row["sender"],
        "to": row["recipient"],
        "segments": row["segments"],
        "tag": row["tag"],
        "carrier": row["carrier"],
        "code": row["code"],
        "cost": None,
    }


def _inbound_head(row: Record) -> dict[str, Any]:
    return {
        "messageId": messages.incoming_id(row["message_id"], row["received_at"]),
        "direction": "incoming",
        "state": "received",
        "from": row["sender"],
        "to": row["recipient"],
        "segments": row["segments"],
        "carrier": row["carrier"],
    }


def _inbound_steps(row: Record) -> list[Step]:
    steps = [_step(row["received_at"], "received", carrier=row["carrier"])]
    if row["keyword"]:
        steps.append(_step(row["received_at"], "keyword", action=row["keyword"]))
    if row["tag"]:
        steps.append(_step(row["received_at"], "answers", tag=row["tag"]))
    return steps


def _unsent(attempt: Record) -> Step:
    """The end of a message that no carrier was given: its sender took it back, or it may not be sent."""
    code, reason = attempt["code"], attempt["reason"]
    if code == details.CANCELED:
        return _step(attempt["at"], "canceled", **({"reason": reason} if reason == HALTED.reason else {}))
    return _step(attempt["at"], "blocked", code=code, details=details.words(code), reason=reason)


async def _outgoing_steps(connection: Connection, row: Record) -> list[Step]:
    steps = [_step(row["accepted_at"], "accepted")]
    attempts = await records.attempts_of(connection, row["resource_id"], row["message_id"])
    if attempts and not attempts[0]["carrier"] and row["ended_at"] == row["accepted_at"]:
        return [*steps, _unsent(attempts[0])]
    first = next((attempt["carrier"] for attempt in attempts if attempt["carrier"]), row["carrier"])
    steps.append(_step(row["accepted_at"], "queued", carrier=first, route=row["route"]))
    handed = [_attempt_step(attempt) if attempt["carrier"] else _unsent(attempt) for attempt in attempts]
    handed += [
        _step(
            taken["submitted_at"], "submitted", carrier=taken["carrier"], carrierMessageId=taken["carrier_message_id"]
        )
        for taken in await records.submissions_of(connection, row["block_id"], row["message_id"])
    ]
    steps += sorted(handed, key=lambda step: step["at"])
    if row["ended_at"] is not None:
        state = State(row["state"]).name.lower()
        steps.append(
            _step(row["ended_at"], "reported", status=state, code=row["code"], details=details.words(row["code"]))
        )
    elif row["due_at"] is not None and not any(
        step["what"] == "submitted" and step["carrier"] == row["carrier"] for step in steps
    ):
        what = "next try due" if handed else "to be sent"
        steps.append(_step(row["due_at"], what, carrier=row["carrier"]))
    return steps


def _attempt_step(attempt: Record) -> Step:
    if attempt["code"] == records.ANSWERED_LATE:
        return _step(attempt["at"], "answered late", carrier=attempt["carrier"])
    return _step(
        attempt["at"],
        "unanswered" if attempt["unknown"] else "refused",
        carrier=attempt["carrier"],
        code=attempt["code"],
        temporary=attempt["temporary"],
        reason=attempt["reason"],
    )


def _step(at: datetime, what: str, **particulars: object) -> Step:
    return {"at": at, "what": what, **particulars}


def _webhook_step(attempt: Try) -> Step:
    step = _step(attempt.at, "webhook", subscription=attempt.subscription, attempt=attempt.attempt)
    if attempt.status is not None:
        step["status"] = attempt.status
    if attempt.error is not None:
        step["error"] = attempt.error
    if attempt.next_at is not None:
        step["nextTryAt"] = attempt.next_at
    return step
