"""Kannel from Debian's package as a gateway under test: bearerbox and smsbox, only ever run as programs of their own.

Configured for the whole cycle: messages kept in its store, receipts matched in memory (`dlr-storage = internal`), one
transceiver with as many unanswered submit_sm as Landline may have, reports to the rig's webhook.
"""

import http.client
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

from bench.gateway import messages, smsc
from bench.gateway.gateways import several
from bench.gateway.party import Party
from bench.load import Load, Target

Store = Literal["file", "spool"]
Log = Literal["none", "debian"]
"""`debian`: bearerbox writes what it does to a file, at its default level, as Debian's own configuration has it."""

_USER, _PASSWORD = "bench", "bench"
_READY_S = 20.0
_END_S = 10.0
_LOOK_EVERY_S = 0.02


def installed() -> str | None:
    """Kannel's version, None without it."""
    found = shutil.which("bearerbox", path="/usr/sbin:/usr/bin")
    if found is None or shutil.which("smsbox", path="/usr/sbin:/usr/bin") is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    return told.partition("`")[2].partition("'")[0] or "of unknown version"


class Kannel:
    """Fills `Gateway`."""

    name = "Kannel"

    def __init__(
        self,
        carrier: Party,
        webhook: Party,
        *,
        window: int = smsc.WINDOW,
        binds: int = 1,
        store: Store = "file",
        log: Log = "none",
    ) -> None:
        self._carrier = carrier
        self._directory = Path(tempfile.mkdtemp(prefix="kannel-"))
        self._admin, self._boxes, self._sendsms = _free_ports(3)
        self._reports = f"http://127.0.0.1:{webhook.ask('port')}/report"
        self._said = f"http://127.0.0.1:{webhook.ask('port')}/said?from=%p&to=%P&text=%a"
        self.target = Target("127.0.0.1", self._sendsms, f"{_USER}:{_PASSWORD}", None)
        self._file = self._directory / "kannel.conf"
        self._file.write_text(self._configuration(carrier.ask("port"), window, binds, store, log))
        self._processes: list[subprocess.Popen[bytes]] = []
        self.restart()

    def load(self, first: int, requests: int, recipients: int) -> Load:
        """See `Gateway`."""
        made = messages.kannel(self.target, self._reports, first, requests, recipients)
        return Load(several(made, lazily=False), 202, b"0: Accepted for delivery", worth=recipients)

    def pids(self) -> dict[str, list[int]]:
        """See `Gateway`."""
        return {"gateway": [process.pid for process in self._processes], "database": []}

    def kill(self) -> None:
        """See `Gateway`."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def restart(self) -> None:
        """See `Gateway`."""
        self._processes = [self._started("bearerbox")]
        _until(lambda: _answers(self._admin, f"/status.txt?password={_PASSWORD}"), "bearerbox answers")
        self._processes.append(self._started("smsbox"))
        _until(lambda: _answers(self._sendsms, "/cgi-bin/sendsms"), "smsbox answers")
        _until(lambda: self._carrier.ask("bound") > 0, "Kannel is bound")

    def close(self) -> None:
        """See `Gateway`."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _started(self, program: str) -> "subprocess.Popen[bytes]":
        path = shutil.which(program, path="/usr/sbin:/usr/bin")
        assert path
        return subprocess.Popen(
            [path, "-v", "4", str(self._file)],
            cwd=self._directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _configuration(self, port: int, window: int, binds: int, store: Store, log: Log) -> str:
        location = self._directory / ("store" if store == "file" else "spool")
        if store == "spool":
            location.mkdir()
        logged = {"log-file": f'"{self._directory / "bearerbox.log"}"'} if log == "debian" else {}
        groups: list[tuple[str, dict[str, object]]] = [
            (
                "core",
                {
                    "admin-port": self._admin,
                    "admin-password": _PASSWORD,
                    "smsbox-port": self._boxes,
                    "store-type": store,
                    "store-location": f'"{location}"',
                    "dlr-storage": "internal",
                    **logged,
                },
            ),
            (
                "smsc",
                {
                    "smsc": "smpp",
                    "smsc-id": "bench",
                    "host": "127.0.0.1",
                    "port": port,
                    "smsc-username": smsc.SYSTEM_ID,
                    "smsc-password": smsc.PASSWORD,
                    "system-type": '""',
                    "transceiver-mode": "true",
                    "max-pending-submits": window,
                    "instances": binds,
                    "source-addr-autodetect": "true",
                },
            ),
            ("smsbox", {"bearerbox-host": "127.0.0.1", "bearerbox-port": self._boxes, "sendsms-port": self._sendsms}),
            ("sendsms-user", {"username": _USER, "password": _PASSWORD, "max-messages": 10}),
            ("sms-service", {"keyword": "default", "max-messages": 0, "get-url": f'"{self._said}"'}),
        ]
        return "\n".join(
            "\n".join([f"group = {name}", *(f"{key} = {value}" for key, value in settings.items()), ""])
            for name, settings in groups
        )


def _answers(port: int, target: str) -> bool:
    """Whether HTTP is spoken there, whatever the answer says."""
    with (
        suppress(OSError, http.client.HTTPException),
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection,
    ):
        connection.request("GET", target)
        connection.getresponse().read()
        return True
    return False


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _READY_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {_READY_S} s: {what}")
        time.sleep(_LOOK_EVERY_S)


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
