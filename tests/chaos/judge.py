"""What must be true when a run has settled, and the history of what is not (docs/design/gateway.md, docs/guides)."""

import asyncio
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos import judge_office
from tests.chaos.customer import Customer
from tests.chaos.ledger import Asked, Key, Ledger, Posted
from tests.chaos.office import FORGETFUL, THRIFT
from tests.chaos.probes import Probes, of_landline
from tests.chaos.senders import PACED
from tests.chaos.smsc import TOKEN
from tests.chaos.stage import BINDS, RESPONSE_S

from landline.protocols.smpp import pdu, receipts, status
from landline.protocols.smpp.commands import MessageState
from landline.services.sms.model import messages

if TYPE_CHECKING:
    from tests.chaos.run import Run

MOST_MIB, MOST_FILES = 300, 200
GROWTH_FILES = 40
MOST_TASKS = 40
"""Of one kind, in one process that has nothing to do."""
_SHOWN = 12
_HEEDED_S = 5.0
"""How long after a STOP or a halt a text may go out that was looked at before: 2 s, and what a full machine takes."""
_LATE_S = 5.0
"""The same of a validity that ends."""
_DELIVERED, _FAILED = 8, 9


@dataclass
class Taken:
    """One submit_sm that an SMSC took."""

    at: float
    smsc: str
    message_id: str
    token: str
    to: str
    part: list[int]
    answered: float | None = None

    @property
    def id(self) -> int:
        return int(self.message_id)

    @property
    def in_time(self) -> bool:
        return self.answered is not None and self.answered - self.at < RESPONSE_S - 0.5


def measure(run: "Run") -> None:
    """Memory and open files of Landline's processes, to compare with later."""
    for machine in run.stage.machines:
        for process in of_landline(run, machine):
            run.sizes[process] = _size(process)


def _size(pid: int) -> tuple[int, int]:
    """MiB resident and open files."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages // 256, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0, 0


async def left(run: "Run") -> dict[str, int]:
    """What is still to be done, by kind."""
    connection = await run.stage.postgres.answers("chaos")
    try:
        found: dict[str, int] = {}
        for what, sql in (
            ("messages", "sms_messages WHERE state < 8 OR due_at IS NOT NULL"),
            ("claims", "sms_messages WHERE claim_id IS NOT NULL"),
            ("events", "events_deliveries WHERE delivered_at IS NULL AND dead_at IS NULL"),
            ("customer's", "sms_esme_out"),
            # One that nobody holds, without open messages, waits for nothing but its time: reports of its messages came
            # over other processes than the one that counts them (docs/design/blocks.md).
            (
                "blocks",
                "sms_blocks b WHERE owner IS NOT NULL OR EXISTS (SELECT FROM sms_messages m WHERE m.state < 8"
                " AND m.block_id = b.block_id)",
            ),
            ("event batches", "events_batches"),
            ("event blocks", "events_blocks"),
            # A customer's text that is whole is left for ten minutes, where nobody accepted it (docs/design/esme.md).
            (
                "parts",
                "smpp_inbound_parts p WHERE NOT done AND NOT EXISTS (SELECT FROM smpp_customer_texts t WHERE"
                " whole_at IS NOT NULL AND 'esme:' || t.system_id = p.carrier AND (t.sender, t.recipient, t.reference)"
                " = (p.sender, p.recipient, p.reference))",
            ),
            ("deltas", "insights_deltas"),
        ):
            found[what] = await connection.fetchval(f"SELECT count(*) FROM {sql}")
    finally:
        await connection.close()
    for name, smsc in run.stage.smscs.items():
        found[f"owed by {name}"] = owed(run.ledger.journals[name]) if smsc.running else 1
    return found


def owed(journal: Iterable[Sequence[Any]]) -> int:
    """Deliveries that an SMSC still has to bring."""
    waiting: set[str] = set()
    for _, what, *details in journal:
        if what == "owed":
            waiting.add(details[0])
        elif what == "acked" or (what == "refused" and details[1] != status.ESME_RX_T_APPN):
            waiting.discard(details[0])
    return len(waiting)


def takes(ledger: Ledger) -> list[Taken]:
    """Everything the SMSCs took, in order."""
    found: list[Taken] = []
    for smsc, journal in ledger.journals.items():
        by_id: dict[str, Taken] = {}
        for at, what, *details in journal:
            if what == "taken":
                message_id, _, to, token, part, _ = details
                by_id[message_id] = Taken(at, smsc, message_id, token, to, part)
                found.append(by_id[message_id])
            elif what == "answered" and details[0] in by_id:
                by_id[details[0]].answered = at
    return sorted(found, key=lambda each: each.at)


def reported(ledger: Ledger) -> dict[tuple[str, str], tuple[float, bool]]:
    """When each SMSC first reported each of its messages, and whether as delivered."""
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    for smsc, journal in ledger.journals.items():
        for at, what, *details in journal:
            if what == "owed" and details[2].isdigit():  # no phone's text
                read = receipts.read(pdu.decode_message(bytes(16) + bytes.fromhex(details[1])))
                assert read is not None
                found.setdefault((smsc, details[2]), (at, read.state is MessageState.DELIVERED))
    return found


class Case:
    """All the evidence."""

    def __init__(self, run: "Run", customers: Sequence[Customer]) -> None:
        self.run = run
        self.ledger = run.ledger
        self.customers = customers
        self.broken: list[str] = []
        self.told: Counter[str] = Counter()
        self.taken: dict[Key, list[Taken]] = defaultdict(list)
        for each in takes(self.ledger):
            self.taken[each.token, each.to].append(each)
        self.reported = reported(self.ledger)
        self.rows: dict[Key, list[Any]] = defaultdict(list)
        self.by_id: dict[str, Any] = {}
        self.events: dict[str, dict[str, list[Posted]]] = {
            webhook.name: defaultdict[str, list[Posted]](list) for webhook in run.webhooks
        }
        """By webhook and message."""
        self.submissions: dict[tuple[str, str], Any] = {}
        self.attempts: dict[Any, list[Any]] = defaultdict(list)
        self.texts: list[Any] = []
        self.all_rows: list[Any] = []
        """Of the first resource."""
        self.thrifty: list[Any] = []
        """Of the one with a spend cap."""
        self.orphans: dict[str, int] = {}
        """Rows of messages that are not there, by table."""

    def token(self, row: Any) -> str:
        """What a stored text is known by."""
        found = TOKEN.search(row["body"])
        return found[1] if found else ""

    def failed_before(self, parts: Sequence[Taken], at: float) -> bool:
        """Whether the SMSC that took these has reported one of them as failed by then."""
        told = [self.reported.get((each.smsc, each.message_id)) for each in parts]
        return any(each is not None and not each[1] and each[0] < at for each in told)

    async def load(self) -> None:
        connection = await self.run.stage.postgres.answers("chaos")
        try:
            rows = await connection.fetch(
                "SELECT m.*, r.name AS whose FROM sms_messages m JOIN resources_resource r USING (resource_id)"
            )
            self.all_rows = [row for row in rows if row["whose"] == "local"]
            self.thrifty = [row for row in rows if row["whose"] == THRIFT]
            self.orphans["sms_attempts"] = await connection.fetchval(
                "SELECT count(*) FROM sms_attempts t WHERE NOT EXISTS ("
                "SELECT FROM sms_messages m WHERE m.message_id = t.message_id)"
            )
            # Not when it was written: the process may have been stopped between that and its commit.
            told = await connection.fetchval("SELECT current_setting('track_commit_timestamp')") == "on"
            at = "pg_xact_commit_timestamp(xmin)" if told else "NULL::timestamptz"
            for row in await connection.fetch(
                f"SELECT *, coalesce({at}, submitted_at) AS stored_at FROM sms_submissions"
            ):
                self.submissions[row["carrier"], row["carrier_message_id"]] = row
            for row in await connection.fetch("SELECT * FROM sms_attempts ORDER BY at"):
                self.attempts[row["message_id"]].append(row)
            self.texts = await connection.fetch("SELECT * FROM sms_inbound")
            self.parked = await connection.fetch("SELECT * FROM sms_parked_receipts")
            self.binds = await connection.fetch(
                "SELECT b.*, p.pid FROM smpp_binds b LEFT JOIN store_processes p USING (owner)"
            )
            self.dead = await connection.fetchval("SELECT count(*) FROM events_deliveries WHERE dead_at IS NOT NULL")
            self.untold = await connection.fetch("SELECT about FROM events_deliveries WHERE delivered_at IS NULL")
        finally:
            await connection.close()
        for row in rows:
            self.rows[self.token(row), row["recipient"]].append(row)
            self.by_id[messages.outgoing_id(row["message_id"], row["accepted_at"])] = row
        for webhook, posted in self.ledger.posted.items():
            for each in posted:
                self.events[webhook][each.data["messageId"]].append(each)

    def breach(self, rule: str, key: Key | None, words: str = "") -> None:
        """A promise that was broken; the history of the message is printed for the first of each rule."""
        self.told[rule] += 1
        self.broken.append(f"{rule}: {key or ''} {words}")
        if self.told[rule] <= _SHOWN:
            print(f"\nBROKEN {rule}: {words}", flush=True)
            if key is not None:
                print("\n".join(f"    {line}" for line in self.history(key)), flush=True)

    def history(self, key: Key) -> list[str]:
        """What is known of a message, in the order of time."""
        lines: list[tuple[float, str]] = []
        asked = self.ledger.asked.get(key)
        if asked is not None:
            lines.append((asked.began, f"asked: {asked}"))
        for row in self.rows.get(key, []):
            ended = row["ended_at"].timestamp() if row["ended_at"] else time.time()
            told = {name: value for name, value in row.items() if name not in ("body", "resource_id")}
            lines.append((row["accepted_at"].timestamp(), f"accepted: {told}"))
            lines.append((ended, f"ended: {row['state']} {row['code']}"))
            attempts = self.attempts.get(row["message_id"], [])
            lines += [(each["at"].timestamp(), f"attempt: {dict(each)}") for each in attempts]
            for (carrier, theirs), each in self.submissions.items():
                if each["message_id"] == row["message_id"]:
                    lines.append((each["stored_at"].timestamp(), f"answer stored: {carrier} {theirs}"))
            public = messages.outgoing_id(row["message_id"], row["accepted_at"])
            for webhook, events in self.events.items():
                for each in events.get(public, []):
                    lines.append((each.at, f"posted to {webhook}: {each.event_id} {each.data}"))
        for each in self.taken.get(key, []):
            lines.append((each.at, f"taken by {each.smsc} as {each.message_id} part {each.part}"))
            if each.answered:
                lines.append((each.answered, f"answered by {each.smsc} {each.message_id}"))
            for at, what, *details in self.ledger.journals[each.smsc]:
                if what == "owed" and details[2] == each.message_id:
                    lines.append((at, f"receipt {details[0]} written by {each.smsc} of {each.message_id}"))
                    lines += [
                        (then, f"receipt {details[0]} {what}")
                        for then, what, *more in self.ledger.journals[each.smsc]
                        if what in ("acked", "refused") and more[0] == details[0]
                    ]
        if asked is not None and asked.blocked is not None:
            for text in self.ledger.texted.values():
                if text.sender == asked.to and text.keyword:
                    lines.append((text.at, f"{text.words} ({text.token}) given to {text.smsc}"))
                    lines.append(
                        (text.acked or time.time(), f"{text.words} ({text.token}) acknowledged to {text.smsc}")
                    )
            near = asked.began - 60, (asked.acked or asked.began) + 15
            lines = [(at, what) for at, what in lines if near[0] <= at <= near[1]]
        if lines:
            first, last = min(lines)[0] - 6, max(at for at, _ in lines) + 1
            lines += [(at, f"-- {what}") for at, what in self.ledger.faults if first <= at <= last]
        return [f"{_clock(at)} {what}" for at, what in sorted(lines)]


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"


async def judge(run: "Run", customers: Sequence[Customer], settled: bool) -> list[str]:
    """Every promise that was broken."""
    case = Case(run, customers)
    await case.load()
    for trouble in run.ledger.troubles:
        case.breach("a party met what it should not", None, trouble)
    if not settled:
        case.breach("work is left", None, str({name: count for name, count in (await left(run)).items() if count}))
        for row in case.all_rows:
            if row["state"] < _DELIVERED:
                case.breach("not ended", (case.token(row), row["recipient"]), str(row["message_id"]))
    for key, asked in run.ledger.asked.items():
        _message(case, key, asked)
    for key, copies in case.taken.items():
        _copies(case, key, copies)
    _leavers(case)
    _halts(case)
    _ends(case)
    _pools(case)
    for webhook in case.events:
        _reports(case, webhook)
        _told(case, webhook)
    if case.dead:
        case.breach("dead letters", None, str(case.dead))
    _phones(case)
    _customers(case)
    await judge_office.judge(case, run.kept)
    await _insights(case)
    await _machines(case)
    await _tasks(case)
    await _bound(case)
    _logs(case)
    _tell(case)
    return case.broken


def _message(case: Case, key: Key, asked: Asked) -> None:
    rows, copies = case.rows.get(key, []), case.taken.get(key, [])
    if asked.kind == "erased" and not rows:
        return  # tests/chaos/judge_office.py
    if asked.acked is not None and not rows:
        case.breach("acknowledged and lost", key)
        return
    if len(rows) > 1:
        case.breach("accepted twice", key)
    for row in rows:
        whole = {each.part[1] for each in copies}
        if row["state"] == _DELIVERED and len(whole) < (copies[0].part[2] if copies else 1):
            case.breach("delivered and not (wholly) sent", key)
        if row["state"] == _FAILED and row["code"] == 2000:
            case.breach("failed and delivered", key)
        at_once = row["ended_at"] == row["accepted_at"]
        if row["code"] == 4007 and at_once and copies:
            case.breach("blocked and sent", key)
        soonest = (asked.not_before or 0.0) - case.run.ahead_s - 0.05
        if any(each.at < soonest for each in copies):
            case.breach("sent before its time", key)
        latest = case.run.ahead_s + case.run.stage.behind_s + _LATE_S + (asked.not_after or math.inf)
        if any(each.at > latest and not case.ledger.stalled(latest - _LATE_S, each.at) for each in copies):
            case.breach("sent after its validity", key)
        if asked.canceled and (copies or row["code"] != 5000):
            case.breach("taken back and sent", key)
        if asked.acked is None:
            continue
        if asked.blocked is True and (row["code"] != 4007 or copies):
            case.breach("sent to who opted out", key)
        if asked.blocked is False and row["code"] == 4007 and at_once:
            case.breach("blocked though opted in again", key)
        if asked.message_id and asked.kind != "customer" and asked.message_id not in case.by_id:
            case.breach("accepted under another id", key)


def _copies(case: Case, key: Key, copies: list[Taken]) -> None:
    """No message twice but by the rules of its carrier's crash policy."""
    if not key[0]:
        return
    asked = case.ledger.asked.get(key)
    if key not in case.rows and not (asked is not None and asked.kind == "erased"):
        case.breach("sent and never accepted", key)
    # A long text of which a part was refused is no text: it may go elsewhere as a whole.
    texts: dict[tuple[str, int, int], list[Taken]] = defaultdict(list)
    seen: Counter[tuple[str, int, int]] = Counter()
    for each in copies:
        reference, sequence, _ = each.part
        again = seen[each.smsc, reference, sequence]
        seen[each.smsc, reference, sequence] += 1
        texts[each.smsc, reference, again if reference else each.id].append(each)
    whole = sorted((each for each in texts.values() if len(each) == each[0].part[2]), key=lambda each: each[0].at)
    unexcused = 1
    for parts, others in pairwise(whole):
        before, after = parts[0], others[0]
        if case.run.fails_over and before.smsc != after.smsc and case.failed_before(parts, after.at):
            continue
        unexcused += 1
        policies = case.run.stage.policies[before.smsc]
        if "resend" not in policies:
            case.breach("sent again though at most once", key, f"{before.smsc} {policies}")
            continue
        stored = case.submissions.get((before.smsc, before.message_id))
        in_time = all(each.in_time for each in parts)
        if in_time and stored is not None and stored["stored_at"].timestamp() < after.at - 1.0:
            case.breach("sent again though its answer was known", key)
    if unexcused > 2:
        case.breach("sent more than twice", key)


def _leavers(case: Case) -> None:
    """Who says STOP gets nothing that waited then (docs/design/gateway.md, "Fences")."""
    left = {text.sender: text.acked for text in case.ledger.texted.values() if text.acked and text.recipient == PACED}
    for key, copies in case.taken.items():
        asked, acked = case.ledger.asked.get(key), left.get(key[1])
        if asked is None or acked is None or asked.sender != PACED:
            continue
        case.told["texts to who left a campaign"] += 1
        for each in copies:
            if each.at > acked + _HEEDED_S and not case.ledger.stalled(acked, each.at):
                case.breach("sent long after STOP", key, f"acknowledged {_clock(acked)}, sent {_clock(each.at)}")


def _halts(case: Case) -> None:
    """Nothing goes out whose campaign is halted, or whose sender was released."""
    for key, copies in case.taken.items():
        asked = case.ledger.asked.get(key)
        for halt in case.ledger.halts:
            if asked is None or halt.what not in (asked.tag, asked.sender):
                continue
            late = [each.at for each in copies if halt.since + _HEEDED_S < each.at < halt.until]
            if any(not case.ledger.stalled(halt.since, at) for at in late):
                case.breach("sent though halted or released", key, f"since {_clock(halt.since)}")


def _ends(case: Case) -> None:
    """What one SMSC took once, and whose answer was stored before the end, ends as that reported it."""
    for key, copies in case.taken.items():
        rows = case.rows.get(key, [])
        if len(copies) != 1 or len(rows) != 1 or copies[0].part[2] != 1:
            continue
        (copy,), (row,) = copies, rows
        told = case.reported.get((copy.smsc, copy.message_id))
        stored = case.submissions.get((copy.smsc, copy.message_id))
        if told is None or stored is None or (row["ended_at"] and row["ended_at"] < stored["stored_at"]):
            continue
        if told[1] != (row["state"] == _DELIVERED):
            case.breach("ended as it was not reported", key, f"{row['state']} {row['code']}, reported {told}")


def _pools(case: Case) -> None:
    """Whoever is written to from the pool has one sender for good."""
    senders: dict[str, set[str]] = defaultdict(set)
    for (token, to), asked in case.ledger.asked.items():
        if asked.kind == "pool":
            senders[to].update(row["sender"] for row in case.rows.get((token, to), []))
    for to, known in senders.items():
        if len(known) > 1:
            case.breach("a pool's recipient has several senders", None, f"{to} {known}")
    case.told["recipients of the pool"] = len(senders)


def _reports(case: Case, webhook: str) -> None:
    """One report event of each message that wants one, which tells its end."""
    posted = case.events[webhook]
    for public, row in case.by_id.items():
        if row["whose"] != "local":
            continue
        key = (case.token(row), row["recipient"])
        events = posted.get(public, [])
        ids = {each.event_id for each in events}
        if row["state"] >= _DELIVERED and len(ids) != (1 if row["report_wanted"] else 0):
            case.breach("not reported once", key, f"{len(ids)} event ids to {webhook}")
        for each in events:
            end = "Delivered" if row["state"] == _DELIVERED else "Failed"
            if each.data["deliveryStatus"] != end or f"{row['code']}" not in each.data["deliveryStatusDetails"]:
                case.breach("reported as what it is not", key, webhook)
    known = {*case.by_id, *(messages.incoming_id(each["message_id"], each["received_at"]) for each in case.texts)}
    for each in posted.keys() - known:
        case.breach("an event of what is not there", None, f"{each} to {webhook}")


def _told(case: Case, webhook: str) -> None:
    """Each text from a phone that was acknowledged came as one event."""
    told: dict[str, set[str]] = defaultdict(set)
    for each in case.ledger.posted[webhook]:
        if each.type == "SMSReceived":
            found = TOKEN.search(each.data["message"])
            if found:
                told[found[1]].add(each.event_id)
    for token, text in case.ledger.texted.items():
        if text.keyword or text.acked is None:
            continue
        if not told[token]:
            case.breach("a phone's text is lost", None, f"{text} to {webhook}")
        elif len(told[token]) > 1:
            case.breach("a phone's text was told twice", None, f"{text} {told[token]} to {webhook}")


def _phones(case: Case) -> None:
    """Each text from a phone that was acknowledged is stored once, and came to the customer."""
    for token, text in case.ledger.texted.items():
        if not text.keyword and text.acked is not None and not case.ledger.heard.get(token):
            case.breach("the customer did not get a text", None, str(text))
    said = Counter((each.sender, each.recipient, each.words) for each in case.ledger.texted.values() if each.acked)
    kept = Counter((row["sender"], row["recipient"], row["body"]) for row in case.texts)
    for keyword, count in said.items():
        if kept[keyword] < count:
            case.breach("an acknowledged text is not stored", None, f"{keyword} {kept[keyword]} of {count}")
    replies = sum(row["route"] == "reply" for row in case.all_rows)
    keywords = sum(row["keyword"] is not None for row in case.texts)
    if replies != keywords:
        case.breach("keywords are not answered once", None, f"{replies} replies to {keywords}")
    stored = Counter(row["body"] for row in case.texts)
    for text in case.ledger.texted.values():
        if text.acked is not None and not text.keyword and stored[text.words] != 1:
            case.breach("a phone's text is not stored once", None, f"{stored[text.words]} {text}")


def _customers(case: Case) -> None:
    for customer in case.customers:
        _receipts(case, customer)


def _receipts(case: Case, customer: Customer) -> None:
    """A receipt of each part the customer was told is accepted, which tells the end of its message; none of what
    another account of his name submitted."""
    states: dict[str, set[str]] = defaultdict(set)
    for each in customer.receipts:
        states[each.message_id].add(each.state)
        if each.message_id in customer.by_id and customer.by_id[each.message_id][1] != each.account:
            case.breach("a receipt of another account's message", None, f"{customer.system_id} {each}")
    for message_id, (asked, account) in customer.by_id.items():
        key, rows = (asked.token, asked.to), case.rows.get((asked.token, asked.to), [])
        if not rows:
            continue
        if not states[message_id]:
            if account == customer.account:
                case.breach("the customer got no receipt", key, message_id)
        elif len(states[message_id]) > 1:
            case.breach("the customer got several ends", key, str(states[message_id]))
        elif (rows[0]["state"] == _DELIVERED) != (states[message_id] == {"DELIVERED"}):
            case.breach("the customer got another end", key, str(states[message_id]))
    case.told[f"receipts of answers {customer.system_id} never got"] = len(states.keys() - customer.by_id.keys())


async def _insights(case: Case) -> None:
    machine = case.run.stage.machines[0]
    groups = await asyncio.to_thread(
        machine.admin.call, "GET", "/resources/local/insights", query={"by": "number", "pageSize": 1000}
    )
    totals: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for group in groups["value"]:
        if group["number"] != FORGETFUL:
            totals += Counter({name: group[name] for name in ("accepted", "delivered", "pending")})
            failed += Counter(group["failedByCode"])
    rows = [row for row in case.all_rows if row["route"] != "reply" and row["sender"] != FORGETFUL]
    codes = Counter(str(row["code"]) for row in rows if row["state"] == _FAILED)
    delivered = sum(row["state"] == _DELIVERED for row in rows)
    if (totals["accepted"], totals["delivered"]) != (len(rows), delivered) or failed != codes:
        case.breach("the insights differ", None, f"{totals} {failed} from {len(rows)} {delivered} {codes}")
    if totals["pending"]:
        case.breach("the insights wait", None, str(totals["pending"]))


async def _machines(case: Case) -> None:
    """Everybody is well, bound, and no larger than at first; nobody dead has anything."""
    run = case.run
    deadline = time.monotonic() + 60.0
    for machine in run.stage.machines:
        while True:
            try:
                health = await asyncio.to_thread(machine.admin.call, "GET", "/healthz", timeout_s=10.0)
            except Exception as error:
                health = {"status": str(error)}
            if health.get("status") == "ok" or time.monotonic() > deadline:
                break
            await asyncio.sleep(1.0)
        if health.get("status") != "ok":
            case.breach("not well at the end", None, f"{machine.name} {json.dumps(health)[:1500]}")
        for pid in of_landline(case.run, machine):
            mib, files = _size(pid)
            before = run.sizes.get(pid)
            print(f"{machine.name} {pid}: {mib} MiB, {files} files; at first {before}")
            if mib > MOST_MIB or files > MOST_FILES or (before and files > before[1] + GROWTH_FILES):
                case.breach("grown", None, f"{machine.name} {pid}: {mib} MiB, {files} files; at first {before}")
    alive = {pid for machine in run.stage.machines for pid in machine.pids()}
    held = Counter(row["carrier"] for row in case.binds if row["owner"] is not None and row["pid"] in alive)
    for name in BINDS:
        count = case.run.stage.binds(name)
        if held[name] != count:
            told = [dict(row) for row in case.binds if row["carrier"] == name]
            case.breach("binds are not held", None, f"{name}: {held[name]} of {count}; {told}")
    for row in case.parked:
        if (row["carrier"], row["carrier_message_id"]) in case.submissions:
            message = case.submissions[row["carrier"], row["carrier_message_id"]]["message_id"]
            if any(each["message_id"] == message and each["state"] < _DELIVERED for each in case.by_id.values()):
                case.breach("a receipt stays parked", None, str(dict(row)))


async def _tasks(case: Case) -> None:
    """Nothing is waited for by many: a task that never ends is left behind by each thing that went wrong."""
    for who, told in (await Probes(case.run).ask("end")).items():
        for what, number in told["tasks"].items():
            if number > MOST_TASKS:
                case.breach("tasks gather", None, f"{who}: {number} of {what}")


async def _bound(case: Case) -> None:
    """Each customer's connections are counted as they are, or the account could not bind them all."""
    if case.run.stage.nats is None:
        return  # one process alone counts them by itself
    deadline = time.monotonic() + 120.0
    while True:
        connection = await case.run.stage.postgres.answers("chaos")
        try:
            rows = await connection.fetch("SELECT system_id, sum(binds) AS n FROM smpp_customer_binds GROUP BY 1")
        finally:
            await connection.close()
        counted = {row["system_id"]: int(row["n"]) for row in rows if row["n"]}
        there = {each.system_id: sum(bind.bound for bind in each.binds) for each in case.customers}
        if counted == {name: number for name, number in there.items() if number}:
            return
        if time.monotonic() > deadline:
            case.breach("customers' binds are miscounted", None, f"{counted}, and are {there}")
            return
        await asyncio.sleep(1.0)


_LEVELS = ("error", "critical")


def _logs(case: Case) -> None:
    """No traceback, and no error that a fault does not explain."""
    for machine in case.run.stage.machines:
        seen: Counter[str] = Counter()
        for line in machine.log.read_text(errors="replace").splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                if line.startswith("landline: "):  # why it does not start: its service manager tries again
                    continue
                seen[f"(no JSON) {line[:200]}"] += 1
                continue
            if "exception" in said or "Traceback" in line:
                seen[f"TRACEBACK {said.get('event')} {str(said.get('exception'))[-300:]}"] += 1
            elif said.get("level") in _LEVELS:
                seen[f"{said.get('level')} {said.get('event')}"] += 1
        for what, count in seen.most_common():
            if what.startswith(("TRACEBACK", "(no JSON)")):
                case.breach("an unexpected line in the log", None, f"{machine.name} {count} x {what}")
            else:
                print(f"{machine.name}: {count} x {what}")


def _tell(case: Case) -> None:
    ledger = case.ledger
    kinds = Counter(asked.kind for asked in ledger.asked.values() if asked.acked)
    codes = Counter(row["code"] for row in case.all_rows)
    doubles = sum(len(each) > 1 for each in case.taken.values())
    twice = sum(len(posted) - len({each.event_id for each in posted}) for posted in ledger.posted.values())
    print(f"asked {len(ledger.asked)}, acknowledged {dict(kinds)}; ended {dict(codes)}; phones' {len(ledger.texted)}")
    print(f"refusals: {dict(ledger.refusals)}")
    print(
        f"messages taken twice or in parts {doubles}; events posted again {twice}; customers' receipts"
        f" {sum(len(each.receipts) for each in case.customers)}; {dict(case.told)}"
    )
