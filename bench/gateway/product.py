"""Landline as a gateway under test: `landline dev` with the rig's SMSC as its carrier and the system's clock."""

import os
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from bench import machine
from bench.gateway import messages, smsc
from bench.gateway.gateways import several
from bench.gateway.party import Party
from bench.load import Load, Target
from tests.support import processes

from landline.testing import Server

Policy = Literal["resend", "unknown"]
_TOLD = ("SMSDeliveryReportReceived", "SMSReceived")
_BOUND_S = 20.0
_LOOK_EVERY_S = 0.02


class Landline:
    """Fills `Gateway`. `per_post`: events the webhook's subscription takes in one request, at most."""

    def __init__(
        self,
        carrier: Party,
        webhook: Party,
        *,
        transport: str = machine.PLAIN,
        window: int = smsc.WINDOW,
        binds: int = 1,
        policy: Policy = "resend",
        per_post: int = 1,
        lazily: bool = False,
        workers: int = 1,
    ) -> None:
        self.name = "Landline" if transport == machine.PLAIN else f"Landline over {transport}"
        if workers > 1:
            self.name += f", {workers} processes"
        self._carrier = carrier
        self._binds = binds
        self._lazily = lazily
        self._own = tempfile.TemporaryDirectory(prefix="bench-")
        file = Path(self._own.name) / "landline.toml"
        file.write_text(_configuration(carrier.ask("port"), window, binds, policy))
        port = machine.free_port()
        arguments = ["--config", str(file), "--plain-http-port", str(port), "--workers", str(workers)]
        self._server = Server(arguments=arguments)
        try:
            self._server.start()
            self._subscribe(f"http://127.0.0.1:{webhook.ask('port')}/events", per_post)
            self._wait_bound()
        except BaseException:
            self.close()
            raise
        if transport == machine.TLS:
            self.target = Target.of(self._server.endpoint, self._server.access_key, self._server.ca_bundle)
        else:
            self.target = Target.of(f"http://localhost:{port}", self._server.access_key, None)

    def load(self, first: int, requests: int, recipients: int) -> Load:
        """See `Gateway`."""
        made = messages.landline(self.target, self._server.phone_number, first, requests, recipients)
        return Load(several(made, lazily=self._lazily), 202, b'"successful":true')

    def pids(self) -> dict[str, list[int]]:
        """See `Gateway`."""
        every = processes.tree(self._server.pid)
        database = [process.pid for process in every if process.name.startswith("postgres")]
        return {"gateway": [process.pid for process in every if process.pid not in database], "database": database}

    def kill(self) -> None:
        """See `Gateway`; PostgreSQL is one of its processes."""
        for process in processes.tree(self._server.pid):  # the supervisor first: it shall not see the others go
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self._server.kill()

    def restart(self) -> None:
        """See `Gateway`."""
        self._server.restart()
        self._wait_bound()

    def close(self) -> None:
        """See `Gateway`."""
        self._server.close()
        self._own.cleanup()

    @property
    def log(self) -> str:
        """The last lines it wrote."""
        return self._server.log

    def _subscribe(self, url: str, per_post: int) -> None:
        wanted = {
            "name": "bench",
            "endpoint": url,
            "includedEventTypes": [f"Microsoft.Communication.{kind}" for kind in _TOLD],
            "maxEventsPerBatch": per_post,
            "preferredBatchSizeInKilobytes": 64 if per_post > 1 else 1,
        }
        self._server.admin.call("POST", "/resources/local/subscriptions", wanted)

    def _wait_bound(self) -> None:
        deadline = time.monotonic() + _BOUND_S
        while self._carrier.ask("bound") < self._binds:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Landline was not bound within {_BOUND_S} s\n{self.log[-2000:]}")
            time.sleep(_LOOK_EVERY_S)


def _configuration(port: int, window: int, binds: int, policy: Policy) -> str:
    return "\n".join(
        [
            "simulated_carrier = false",
            "driven_clock = false",
            "",
            "[[carriers]]",
            'name = "bench"',
            'kind = "smpp"',
            'host = "127.0.0.1"',
            f"port = {port}",
            f'system_id = "{smsc.SYSTEM_ID}"',
            f'password = "{smsc.PASSWORD}"',
            f"window = {window}",
            f"binds = {binds}",
            f'crash_policy = "{policy}"',
            "",
        ]
    )
