"""What must be true when a run has come to its end."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tests.sim.world import RESOURCE, Run

from landline.services.insights.model import Tally
from landline.services.sms.model import details, messages
from landline.services.sms.model.messages import REPLY, State
from landline.services.sms.notices import RECEIVED, REPORT
from landline.store.database import Record

_HEEDED = timedelta(seconds=100)
"""Two heartbeats of a simulation: one is waited for by a receipt that a process parked while another stored what it is
of."""


async def broken(run: Run) -> list[str]:
    """Every promise that the run broke."""
    wrong = run.wrong + [each for smsc in run.smscs for each in smsc.wrong]
    wrong += [f"left over: {each}" for each in await run.left()]
    rows = await run.arena.look("SELECT * FROM sms_messages")
    texts = await run.arena.look("SELECT * FROM sms_inbound")
    wrong += acknowledged(run, rows)
    wrong += caps(run, rows)
    wrong += heeded(run, rows, await run.arena.look("SELECT * FROM sms_submissions"))
    events = await run.arena.look("SELECT about, event_id, type, data FROM events_deliveries")
    wrong += reported(rows, texts, events)
    wrong += await counted(run, rows, texts)
    return wrong


def acknowledged(run: Run, rows: Sequence[Record]) -> list[str]:
    """What a client was told is accepted is there once, for that recipient, with that text."""
    found = {row["message_id"]: row for row in rows}
    wrong: list[str] = []
    for message_id, (asked, to) in run.acknowledged.items():
        row = found.get(message_id)
        if row is None:
            wrong.append(f"{message_id} was accepted and is lost")
        elif (row["recipient"], row["body"]) != (to, asked.text):
            wrong.append(f"{message_id} is another message than was accepted")
    ids = Counter(row["repeatability_id"] for row in rows if row["repeatability_id"])
    wrong += [f"repeatability id {each} made {count} messages" for each, count in ids.items() if count > 1]
    for key, handed in run.hand_overs.items():
        if key not in found:
            wrong.append(f"{key} was handed over to {handed[0].carrier} and never accepted")
    return wrong


def heeded(run: Run, rows: Sequence[Record], submissions: Sequence[Record]) -> list[str]:
    """A message does not wait on when a receipt of it was brought that counts: a good one of any carrier that took it,
    or any of the carrier that has it."""
    stored = {(row["carrier"], row["carrier_message_id"]): row["submitted_at"] for row in submissions}
    wrong: list[str] = []
    for row in rows:
        for each in run.hand_overs.get(row["message_id"], ()):
            known_at = stored.get((each.carrier, each.carrier_id))
            if known_at is None or row["state"] == State.DELIVERED:
                continue
            for at, delivered in each.reported:
                waited = row["ended_at"] - max(at, known_at)
                if waited > _HEEDED * (2 if run.lag_s else 1) and (
                    delivered or (row["code"], row["carrier"]) == (5002, each.carrier)
                ):
                    kind = "delivered" if delivered else "failed"
                    wrong.append(
                        f"{row['message_id']} ended with {row['code']} {waited} after {each.carrier} {kind} it"
                    )
    return wrong


def caps(run: Run, rows: Sequence[Record]) -> list[str]:
    """No day has more messages than its cap, whatever became of them later."""
    if run.cap is None:
        return []
    blocked = (4007, 4008)
    passed = Counter(
        row["accepted_at"].date()
        for row in rows
        if row["route"] != REPLY and not (row["code"] in blocked and row["ended_at"] == row["accepted_at"])
    )
    return [f"{count} messages on {day}, over the cap of {run.cap}" for day, count in passed.items() if count > run.cap]


def reported(rows: Sequence[Record], texts: Sequence[Record], events: Sequence[Record]) -> list[str]:
    """One report for each message that wanted one, which tells its end, and one event for each text."""
    reports: dict[Any, list[Any]] = {}
    for event in events:
        reports.setdefault((event["type"], event["about"]), []).append(json.loads(event["data"]))
    wrong: list[str] = []
    for row in rows:
        told = reports.pop((REPORT, row["message_id"]), [])
        if len(told) != (1 if row["report_wanted"] else 0):
            wrong.append(f"{row['message_id']} (code {row['code']}) was reported {len(told)} times")
        for report in told:
            end = (report["deliveryStatus"], report["deliveryStatusDetails"], report["to"], report["messageId"])
            status = "Delivered" if row["state"] == State.DELIVERED else "Failed"
            public_id = messages.outgoing_id(row["message_id"], row["accepted_at"])
            if end != (status, details.words(row["code"]), row["recipient"], public_id):
                wrong.append(f"{row['message_id']} ended as {status} {row['code']} and was reported as {end}")
    for text in texts:
        told = reports.pop((RECEIVED, text["message_id"]), [])
        if len(told) != 1:
            wrong.append(f"the text {text['carrier_key']} was told {len(told)} times")
    wrong += [f"{kind} tells of {about}, which is not there" for kind, about in reports]
    keys = Counter(text["carrier_key"] for text in texts)
    return wrong + [f"the text {key} was stored {count} times" for key, count in keys.items() if count > 1]


async def counted(run: Run, rows: Sequence[Record], texts: Sequence[Record]) -> list[str]:
    """The rollups say what the messages say, cell by cell."""
    expected: Counter[Any] = Counter()
    for each in _tally(rows, texts).counts():
        place = (int(each.hour.timestamp()) // 3600, each.sender, each.tag, each.country, each.carrier)
        expected[*place, each.measure << 16 | each.detail] += each.count
    for row in await run.arena.look("SELECT sender FROM sim_optouts"):
        expected["opt-outs", row["sender"]] += 1
    daily: Counter[Any] = Counter()
    for place, count in expected.items():
        daily[_of_day(place)] += count
    hours = await _found(run, "SELECT hour AS at", "insights_hours")
    notes = await _found(run, "SELECT hour AS at", "insights_deltas")
    days = await _found(run, "SELECT day AS at", "insights_days")
    for place, count in notes.items():
        hours[place] += count
        days[_of_day(place)] += count
    return _unequal("hours", expected, hours) + _unequal("days", daily, days)


async def _found(run: Run, at: str, table: str) -> Counter[Any]:
    found: Counter[Any] = Counter()
    columns = "sender, tag, country, carrier, unnest(cells) AS cell, unnest(counts) AS count"
    for row in await run.arena.look(f"{at}, {columns} FROM {table}"):
        found[("opt-outs", row["sender"]) if row["cell"] >> 16 == 8 else tuple(row.values())[:-1]] += row["count"]
    return found


def _of_day(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """The place by day; opt-outs, of which only the number is known, are of no hour."""
    return place if place[0] == "opt-outs" else (place[0] // 24, *place[1:])


def _unequal(what: str, expected: Counter[Any], found: Counter[Any]) -> list[str]:
    places = {*expected, *found}
    return sorted(
        f"{what} count {found[place]} of {place}, there are {expected[place]}"
        for place in places
        if expected[place] != found[place]
    )


def _tally(rows: Sequence[Record], texts: Sequence[Record]) -> Tally:
    tally = Tally()
    for row in rows:
        if row["route"] == REPLY:
            continue
        place = (row["sender"], row["tag"], row["recipient"], row["carrier"])
        tally.accepted(RESOURCE, row["accepted_at"], *place, row["segments"])
        if row["state"] in messages.FINAL:
            tally.ended(
                RESOURCE,
                row["accepted_at"],
                row["ended_at"],
                *place,
                row["state"] == State.DELIVERED,
                row["code"],
                row["segments_delivered"],
            )
    for text in texts:
        by = text["answers_carrier"] or text["carrier"]
        tally.replied(RESOURCE, text["received_at"], text["recipient"], text["tag"], text["sender"], by)
    return tally
