"""Carriers that are in no live process's configuration any more: an operator took them out, or renamed them.

Each process says now and then which carriers it has, for others may have them while it does not, as during a rolling
restart. Crash policies are remembered with that: what such a carrier may have got follows its own.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import structlog

from landline.ports.clock import Clock
from landline.ports.sms_carrier import CrashPolicy, SmsCarrier
from landline.services.sms import records_carriers as records
from landline.services.sms.failover import Failover
from landline.store.database import Database

log = structlog.get_logger()
_EVERY = timedelta(seconds=15)
"""How often it is looked, and said."""
_GONE_AFTER = timedelta(minutes=1)
"""A carrier of which nobody has said for so long that he has it is nobody's."""


class Removed:
    """As one process knows them. `configured` are the names in its configuration, be they its own `carriers` or those
    of another process of the same server."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        carriers: Mapping[str, SmsCarrier],
        failover: Failover,
        configured: Collection[str],
    ) -> None:
        self.names: list[str] = []
        """Those that are nobody's, as of the last look."""
        self._database = database
        self._clock = clock
        self._said = {name: carrier.crash_policy.value for name, carrier in sorted(carriers.items())}
        self._failover = failover
        self._ours = {*carriers, *configured}
        self._looked_at: datetime | None = None
        self._told: set[str] = set()

    async def refresh(self) -> None:
        """Say which carriers this process has and look which ones nobody has, now and then. Raises `Unavailable`."""
        now = self._clock.now()
        if self._looked_at is not None and self._looked_at <= now < self._looked_at + _EVERY:
            return
        # Who comes back from an outage may be the first: others are given until the next look to say what they have.
        back = self._looked_at is None or not self._looked_at <= now < self._looked_at + _GONE_AFTER
        async with self._database.connection() as connection:
            if self._said:
                await records.say(connection, self._said, now, now - _EVERY)
            rows = await records.known(connection)
            silent = [row["carrier"] for row in rows if row["seen_at"] <= now - _GONE_AFTER]
            self.names = [] if back else [name for name in silent if name not in self._ours]
            waited_for = [
                name for name in self.names if name not in self._told and await records.waiting(connection, [name])
            ]
        self._failover.remembered = {row["carrier"]: CrashPolicy(row["crash_policy"]) for row in rows}
        self._told = {*self._told.intersection(self.names), *waited_for}
        for name in waited_for:
            log.warning("sms.carrier_removed", carrier=name, reason="messages wait for it, and no process has it")
        self._looked_at = now

    async def waiting(self) -> dict[str, int]:
        """How many messages wait for each of them, or for its receipts. Raises `Unavailable`."""
        return await records.waiting_for(self._database, self.names) if self.names else {}
