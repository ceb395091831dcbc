"""An SMSC in a process of its own, to be killed, stopped and started again; what it took stands in a file.

Run as a module it is that process: `python -m tests.support.far_smsc <port> <file> <first id>`.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

from landline.protocols.smpp.pdu import ShortMessage
from landline.testing.smsc import Conduct, Smsc

SYSTEM_ID, PASSWORD = "landline", "secret"
_IDS_A_LIFE = 1_000_000


@dataclass(frozen=True, slots=True)
class Taken:
    """One submit_sm that it took."""

    message_id: str
    recipient: str
    text: str

    @property
    def life(self) -> int:
        return int(self.message_id) // _IDS_A_LIFE


class FarSmsc:
    """See the module. `port` stays the same over its lives."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "taken"
        self._file.touch()
        self._process: subprocess.Popen[str] | None = None
        self.lives = 0
        self.port = 0

    def start(self) -> Self:
        self.lives += 1
        arguments = [str(self.port), str(self._file), str(self.lives * _IDS_A_LIFE)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.far_smsc", *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT; SIGUSR1 cuts its connections."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """What it owed (receipts) is forgotten."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def taken(self) -> list[Taken]:
        """Everything it took in all its lives, in order."""
        return [Taken(*json.loads(line)) for line in self._file.read_text().splitlines()]


class _Recording(Smsc):
    """Writes down what it takes before it answers."""

    def __init__(self, file: Path, first_id: int) -> None:
        super().__init__({SYSTEM_ID: PASSWORD}, conduct=Conduct(response_delay_s=0.01), keep=1)
        self.ids = count(first_id)
        self._out = os.open(file, os.O_WRONLY | os.O_APPEND)

    def remember(self, system_id: str, message_id: str, message: ShortMessage) -> None:
        super().remember(system_id, message_id, message)
        taken = [message_id, f"+{message.destination_addr}", self.texts[-1].text]
        os.write(self._out, json.dumps(taken).encode() + b"\n")


async def _main(port: int, file: Path, first_id: int) -> None:
    smsc = _Recording(file, first_id)
    await smsc.start(port=port)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, smsc.cut)
    print(smsc.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
