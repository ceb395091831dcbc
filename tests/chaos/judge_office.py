"""What must be true of what the people of a resource did (tests/chaos/office.py): opt-outs, sticky pools, prices, spend
caps, halts and erasures as docs/guides promise them."""

import asyncio
import math
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.chaos.ledger import Asked, Key
from tests.chaos.office import FIRST_CAP, FORGETFUL, THRIFT, Change, Erasure, Kept

from landline.core import money

if TYPE_CHECKING:
    from tests.chaos.judge import Case

HEEDED_S = 5.0
"""How long after its answer a change may be unknown to another process that is busy."""
_BLOCKED, _HALTED = 4008, 5000


async def judge(case: "Case", kept: Kept) -> None:
    """Say what was broken."""
    _pool(case, kept)
    _spent(case, kept)
    _erased(case, kept)
    _halted(case)
    await _counted(case)


def in_force(changes: list[Change], since: float, until: float) -> list[Any]:
    """What of a setting may have been in force at some moment of that time."""
    found: list[Any] = []
    for number, change in enumerate(changes):
        over = min((later.ended + HEEDED_S for later in changes[number + 1 :]), default=math.inf)
        if change.began <= until and over >= since:
            found.append(change.value)
    return found


def _pool(case: "Case", kept: Kept) -> None:
    """Who is written to from a sticky pool keeps a sender for as long as the pool has it."""
    told: dict[str, list[tuple[Asked, str]]] = defaultdict(list)
    for key, asked in case.ledger.asked.items():
        if asked.kind == "turns":
            for row in case.rows.get(key, []):
                told[asked.to].append((asked, row["sender"]))
                until = asked.acked or math.inf
                if not any(row["sender"] in each for each in in_force(kept.pools, asked.began, until)):
                    case.breach("a sender that its pool has not", key, row["sender"])
    for texts in told.values():
        for (before, knew), (after, has) in pairwise(sorted(texts, key=lambda each: each[0].began)):
            over = before.acked is not None and before.acked < after.began
            states = in_force(kept.pools, before.began, after.acked or math.inf)
            if knew != has and over and all(knew in each for each in states):
                case.breach(
                    "another sender though the pool has the known one", (after.token, after.to), f"{knew} {has}"
                )
    case.told["recipients of the turning pool"] = len(told)


def _spent(case: "Case", kept: Kept) -> None:
    """What was accepted never costs more than the cap of its moment, and each text what its segments then did."""
    rows = sorted((row for row in case.thrifty if row["code"] != _BLOCKED), key=lambda row: row["accepted_at"])
    spent = 0
    for row in rows:
        at = row["accepted_at"].timestamp() + case.run.stage.behind_s
        spent += row["cost"] or 0
        caps = [change.value for change in kept.caps if change.began <= at + case.run.ahead_s + 0.1]
        if spent > _micros(max(caps)):
            case.breach("more was spent than the cap", _key(case, row), f"{money.text(spent)} of {max(caps)}")
        asked = case.ledger.asked.get(_key(case, row))
        if asked is None or asked.acked is None:
            continue
        known = {row["segments"] * _micros(price) for price in _prices(kept, asked.began, asked.acked)}
        if row["cost"] not in known:
            case.breach("another cost than any price in force", _key(case, row), f"{row['cost']}, not of {known}")
    highest = max((each.value for each in kept.caps), default=FIRST_CAP)
    blocked = len(case.thrifty) - len(rows)
    case.told[f"spent, of {highest} at most, {blocked} texts blocked"] = spent


def _prices(kept: Kept, since: float, until: float) -> set[str]:
    """Of any carrier, in that time."""
    carriers = {change.value[0] for change in kept.prices}
    each = ([change for change in kept.prices if change.value[0] == carrier] for carrier in carriers)
    return {price for changes in each for _, price in in_force(changes, since, until)}


def _micros(amount: str | int | Decimal) -> int:
    return int(Decimal(amount) * money.ONE)


def _key(case: "Case", row: Any) -> Key:
    return case.token(row), row["recipient"]


def _erased(case: "Case", kept: Kept) -> None:
    """What was there when a phone was erased is gone, and stays so; what was taken back is not sent."""
    done: dict[str, list[Erasure]] = defaultdict(list)
    for erasure in kept.erasures:
        if erasure.ended < math.inf:
            done[erasure.phone].append(erasure)
    gone = 0
    for key, asked in case.ledger.asked.items():
        if asked.kind != "erased" or asked.acked is None or asked.message_id is None:
            continue
        over = [each for each in done[asked.to] if each.began > asked.acked and asked.message_id not in each.left]
        gone += bool(over)
        if over and case.rows.get(key):
            case.breach("not erased", key, asked.message_id)
        if not case.rows.get(key) and not any(each.phone == asked.to for each in kept.erasures):
            case.breach("acknowledged and lost", key)
        for each in case.taken.get(key, []):
            if over and each.at > over[0].ended + HEEDED_S and not case.ledger.stalled(over[0].ended, each.at):
                case.breach("erased and sent", key, f"erased {over[0].ended}")
    for what, number in case.orphans.items():
        if number:
            case.breach("rows of messages that are erased", None, f"{number} of {what}")
    case.told["erased"] = gone


def _halted(case: "Case") -> None:
    """What is asked for while a campaign is halted ends at once, and does not once it goes on."""
    for key, asked in case.ledger.asked.items():
        rows = case.rows.get(key, [])
        if asked.tag is None or asked.acked is None or len(rows) != 1:
            continue
        at_once = rows[0]["code"] == _HALTED and rows[0]["ended_at"] == rows[0]["accepted_at"]
        halts = [halt for halt in case.ledger.halts if halt.what == asked.tag]
        during = any(each.since + HEEDED_S < asked.began and asked.acked < each.until for each in halts)
        near = any(each.since - HEEDED_S < asked.acked and asked.began < each.over + HEEDED_S for each in halts)
        if during and not at_once:
            case.breach("accepted though halted", key)
        if at_once and not near and not case.ledger.stalled(asked.began - HEEDED_S, asked.acked):
            case.breach("halted though it goes on", key)


async def _counted(case: "Case") -> None:
    """The insights of what was erased, and of the resource with a spend cap."""
    admin = case.run.stage.machines[0].admin
    query = {"number": FORGETFUL}
    erased = (await asyncio.to_thread(admin.call, "GET", "/resources/local/insights", query=query))["totals"]
    asked = [each for each in case.ledger.asked.values() if each.kind == "erased"]
    known, most = sum(each.acked is not None for each in asked), len(asked)
    if not known <= erased["accepted"] <= most or erased["delivered"] + erased["failed"] != erased["accepted"]:
        case.breach("the insights of what was erased differ", None, f"{erased}, of {known} to {most}")
    totals = (await asyncio.to_thread(admin.call, "GET", f"/resources/{THRIFT}/insights"))["totals"]
    cost = sum(row["cost"] or 0 for row in case.thrifty)
    if totals["accepted"] != len(case.thrifty) or _micros(totals.get("cost", 0)) != cost:
        case.breach("the insights of costs differ", None, f"{totals}, of {len(case.thrifty)} and {money.text(cost)}")
