"""What grows with the count of equal acts is a leak: `python -m tests.chaos --growth`.

Everything runs as in a run of chaos, without traffic of its own. Each act (tests/chaos/repeated.py) is done a few times
so that all is warm, then many times, and after each, when all is quiet, everything is measured that may grow: memory,
open files and threads of each process as Linux shows them, its tasks, objects and containers as tests/chaos/probe sees
them, connections to PostgreSQL, and rows. Judged is the slope over the repetitions, in either half of them (the median
of all slopes between two, which no single odd figure moves), never an absolute number nor a time. What seems to grow is
measured once more from the start: what had only to fill a bound is full by then.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import asyncpg
from tests.chaos import judge
from tests.chaos.probes import Probes, until
from tests.chaos.stage import BINDS, Machine
from tests.support.signed import Raw, sms_body

from landline.testing.admin import AdminError

if TYPE_CHECKING:
    from tests.chaos.run import Run

WARM, MEASURED = 3, 12
MOST = {"KiB": 150.0, "young": math.inf}
"""Of memory, by act: less than this is how an interpreter's own allocators creep."""
MOST_OF_OTHERS = 0.4
SENDER = "+18005550100"
KEPT = {
    *("sms_messages", "sms_attempts", "sms_submissions", "sms_inbound", "sms_optouts", "sms_sticky"),
    *("sms_esme_messages", "events_deliveries", "insights_hours", "insights_days", "insights_tags"),
    *("sms_keywords", "sms_rates"),  # of a number that was removed, too: where it comes back they are in force again
    "sms_parked_receipts",  # for ten minutes (docs/design/gateway.md)
    "smpp_arrivals",  # for two minutes (docs/guides/carriers.md)
    "smpp_sent_parts",  # for six hours (docs/design/gateway.md)
}
"""Tables that are to keep what was said, or do so for a time that no series lasts."""

BOUNDED = {
    "asyncpg.connection._StatementCache._entries",  # 100 of each connection
    "landline.store.database._Line._stmts_to_close",  # of those, what expired, until its connection prepares another
    *("landline.services.sms.model.guesses.Guesses._counts", "landline.services.sms.model.guesses.Guesses._known"),
    "landline.services.sms.accounts.Accounts._proved",  # as these, 20,000 or less
    "landline.services.sms.keywords.Keywords._cache",  # 10,000
    "landline.services.sms.rates.Rates._buckets",  # 50,000
    "landline.engines.smpp.recent.RecentTexts._recent",  # texts of two minutes
    "landline.engines.smpp.inbox.Inbox._known",  # 100,000 ids of receipts
    "landline.services.sms.handover.HandOver._blocks",  # 100,000
    "landline.services.sms.overheard.Overheard._before",  # what was heard of in half a minute
    "?",  # of asyncpg's own, which Python cannot look into
}
CACHED = (
    *("builtins.", "asyncpg.", "uvloop.loop.TimerHandle", "uvloop.loop.UVTimer", "_contextvars.", "collections."),
    *("landline.services.sms.handover._Block", "landline.services.sms.model.guesses._Count"),
    *("landline.services.sms.model.keywords.Language", "landline.services.sms.model.pacing.TokenBucket"),
    *("landline.protocols.smpp.pdu.SubmitTemplate", "landline.engines.smpp.recent.Recent"),
)
"""What fills up to a bound, and takes longer for that than a series; objects that statements kept ready consist of,
and those that are nothing without whose they are."""
COLLECTED_AT = 100_000
GARBAGE_MIB = 64
"""What a process may have in objects that the collector has yet to look at."""

Figures = dict[str, float]
"""By `what of whom`."""


def slope(values: Sequence[float]) -> float:
    """How much `values` grow from each to the next: the median of all slopes (Theil and Sen), which a minority of odd
    values does not move."""
    return median((later - sooner) / (j - i) for (i, sooner), (j, later) in combinations(enumerate(values), 2))


def grown(series: Sequence[Figures]) -> dict[str, float]:
    """What is there all along and grows in either half of the series, and by how much each time at least."""
    half = len(series) // 2
    found: dict[str, float] = {}
    for name in series[0]:
        if all(name in each for each in series):
            values = [each[name] for each in series]
            by = min(slope(values[:half]), slope(values[half:]), slope(values))
            if by >= MOST.get(name.split()[0], MOST_OF_OTHERS):
                found[name] = round(by, 2)
    return found


@dataclass
class Growth:
    """See the module. What acts need is here."""

    run: "Run"
    raw: Raw
    broken: list[str] = field(default_factory=list[str])
    turn: int = 0
    """Counts all acts: what is to be another each time is named for it."""

    def __post_init__(self) -> None:
        self.stage = self.run.stage
        self.probes = Probes(self.run)

    @property
    def serving(self) -> list[Machine]:
        return [machine for machine in self.stage.machines if machine.kind == "serve"]

    async def judge(self, acts: Mapping[str, "Act"]) -> list[str]:
        """Every thing that grew, by act."""
        for name, act in acts.items():
            began = time.monotonic()
            try:
                found = await self._judged(name, act)
            except TimeoutError as error:
                self.broken.append(f"{name}: {error}")
                print(f"BROKEN {name}: {error}", flush=True)
                continue
            print(f"{name}: {found or 'nothing grows'} ({time.monotonic() - began:.0f} s)", flush=True)
        return self.broken

    async def _judged(self, name: str, act: "Act") -> dict[str, float]:
        for _ in range(WARM):
            await self._do(act)
        first = await self._series(f"{name} 1", act)
        if not first:
            return {}
        print(f"{name}: seems to grow: {first}", flush=True)
        second = await self._series(f"{name} 2", act)
        again = {what: by for what, by in second.items() if what in first}
        for what, by in again.items():
            self.broken.append(f"{name}: {what} grows by {by} each time")
            print(f"BROKEN {name}: {what} grows by {by} each time, before by {first[what]}", flush=True)
        return again

    async def _series(self, name: str, act: "Act") -> dict[str, float]:
        probed = await self.probes.ask(name)
        series: list[Figures] = []
        for number in range(MEASURED):
            await self._do(act)
            probed = await self.probes.ask(name, least=MEASURED // 2 if number == MEASURED - 1 else 0)
            series.append({**await self.measured(), **_of_probes(probed)})
        found = grown(series)
        for who, now in probed.items():
            for whose, by in now["grown"].items():
                if whose not in BOUNDED:
                    found[f"{whose} of {who}"] = round(by / MEASURED, 2)
        return {what: by for what, by in found.items() if what.split()[0] != "KiB" or not _garbage(what, by, series)}

    async def _do(self, act: "Act") -> None:
        self.turn += 1
        await act(self)
        await self.quiet()

    async def until(self, met: Callable[[], Coroutine[Any, Any, bool] | bool], what: str) -> None:
        """Return when `met`. Raises `TimeoutError` when that does not come in any time a busy machine needs."""
        await until(met, what)

    async def quiet(self) -> None:
        """Return when everybody is well and has nothing to do."""
        await self.until(self._quiet, "quiet")

    async def _quiet(self) -> bool:
        try:
            left = await judge.left(self.run)
            waits = any(number for what, number in left.items() if what != "deltas")
            return not waits and await self._bound() and await self._well()
        except (OSError, asyncpg.PostgresError, TimeoutError, AdminError, HTTPException):
            return False

    async def _bound(self) -> bool:
        connection = await self.stage.postgres.answers("chaos")
        try:
            held = await connection.fetchval(
                "SELECT count(*) FROM smpp_binds JOIN store_processes USING (owner) WHERE up AND NOT leaving"
            )
        finally:
            await connection.close()
        return held == sum(self.stage.binds(name) for name in BINDS)

    async def _well(self) -> bool:
        for machine in self.stage.machines:
            told = await asyncio.to_thread(machine.admin.call, "GET", "/healthz", timeout_s=20.0)
            if told.get("status") != "ok":
                return False
        return True

    async def texts(self, count: int) -> None:
        """So many, the same each time, accepted once."""
        recipients: list[Any] = [f"+1425444{number:04d}" for number in range(count)]
        body = json.dumps(sms_body(SENDER, recipients, "equal each time")).encode()

        def taken() -> bool:
            try:
                return self.raw.call("POST", "/sms", json.loads(body)).status == 202
            except (OSError, HTTPException):
                return False

        await self.until(lambda: asyncio.to_thread(taken), "an answer to texts")

    async def measured(self) -> Figures:
        """All that others than the processes themselves know of them."""
        found: Figures = {}
        for who, pid in self.probes.processes():
            kib, threads = _memory(pid)
            found[f"KiB of {who}"], found[f"threads of {who}"] = kib, threads
            found[f"files of {who}"] = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        connection = await self.stage.postgres.answers("chaos")
        try:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            found["connections of all"] = await connection.fetchval(sql)
            for row in await connection.fetch("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"):
                if row["name"] not in KEPT:
                    found[f"rows of {row['name']}"] = await connection.fetchval(f"SELECT count(*) FROM {row['name']}")
        finally:
            await connection.close()
        return found


Act = Callable[[Growth], Coroutine[Any, Any, None]]


def _memory(pid: int) -> tuple[int, int]:
    """KiB that are no file's, and threads."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]), int(status["Threads"])


def _garbage(what: str, kib: float, series: Sequence[Figures]) -> bool:
    """Whether memory that grows by so much is of cycles that Python's collector comes upon before they are many: it
    looks once there are so many more objects, however large they are (landline.app.serving)."""
    young = [each[what.replace("KiB of", "young of")] for each in series]
    objects = median(later - sooner for sooner, later in pairwise(young))
    return objects > 0 and kib / objects * COLLECTED_AT < GARBAGE_MIB * 1024


def _of_probes(probed: Mapping[str, Any]) -> Figures:
    found: Figures = {}
    for who, told in probed.items():
        found[f"young of {who}"] = told["young"]
        found |= {f"tasks {what} of {who}": number for what, number in told["tasks"].items()}
        kinds = {kind: number for kind, number in told["objects"].items() if not kind.startswith(CACHED)}
        found |= {f"objects {kind} of {who}": number for kind, number in kinds.items()}
    return found
