"""An SMSC as the carrier of servers and workers on one database, and `landline worker` as a process."""

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
from tests.support.patience import PATIENCE_S

from landline.testing.server import COMMAND, START_TIMEOUT_S

SECRET = "Zx1-cluster-test-7f3b9a2d8c6e4051"
CARRIER = """
[[carriers]]
name = "smsc"
kind = "smpp"
host = "127.0.0.1"
port = {port}
system_id = "landline"
password = "secret"
binds = {binds}
window = {window}
response_s = 10
"""


def written(file: Path, dsn: str, smsc_port: int, *, binds: int, window: int = 10, **settings: Any) -> Path:
    """A configuration that `dev` and `worker` take alike."""
    shared: dict[str, Any] = {
        "dsn": dsn,
        "sealing_secret": SECRET,
        "simulated_carrier": False,
        "driven_clock": False,
        "open_webhooks": False,
        "dev_issuer": False,
        "sms_countries": ["*"],
        "log_level": "info",
        **settings,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in shared.items()]
    file.write_text("\n".join(lines) + CARRIER.format(port=smsc_port, binds=binds, window=window))
    return file


class Worker:
    """One `landline worker`."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self._ready_file = config.with_name(f"worker-{id(self)}.json")
        self._log_file = config.with_name(f"worker-{id(self)}.log")
        with self._log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "worker", "--config", str(config), "--ready-file", str(self._ready_file), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    @property
    def told(self) -> dict[str, str]:
        """Its ready file."""
        return json.loads(self._ready_file.read_text())

    @property
    def admin_url(self) -> str:
        return self.told["adminUrl"]

    async def ready(self) -> "Worker":
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self._ready_file.exists():
                assert self.process.poll() is None, self.log
                await asyncio.sleep(0.02)
        return self

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


async def eventually(true: Callable[[], Awaitable[Any]], *, timeout_s: float = PATIENCE_S) -> None:
    """Ask until it is so."""
    async with asyncio.timeout(timeout_s):
        while not await true():
            await asyncio.sleep(0.05)


class Tables:
    """What the processes wrote, looked at from outside."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, dsn: str) -> "Tables":
        return cls(await asyncpg.connect(dsn))

    async def close(self) -> None:
        await self._connection.close()

    async def pid_of_binds(self) -> dict[int, int]:
        """How many slots of the carrier each process holds, by its id."""
        rows = await self._connection.fetch(
            "SELECT p.pid, count(*) AS slots FROM smpp_binds b JOIN store_processes p USING (owner)"
            " WHERE NOT b.leaving GROUP BY p.pid"
        )
        return {row["pid"]: row["slots"] for row in rows}

    async def unfinished(self) -> int:
        return await self._connection.fetchval("SELECT count(*) FROM sms_messages WHERE ended_at IS NULL")

    async def submitted(self) -> int:
        """Messages whose carriers said that they have them."""
        return await self._connection.fetchval("SELECT count(DISTINCT message_id) FROM sms_submissions")

    async def states(self) -> dict[str, int]:
        """Messages by the carrier's detail code, None while they have not ended."""
        rows = await self._connection.fetch("SELECT code, count(*) AS n FROM sms_messages GROUP BY code")
        return {str(row["code"]): row["n"] for row in rows}
