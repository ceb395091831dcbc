"""`landline dev` as a child process of a test: started, waited for, killed, started again on the same data."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from landline.testing import given
from landline.testing.admin import Admin
from landline.testing.carrier import Carrier
from landline.testing.clock import Clock
from landline.testing.handset import Handset
from landline.testing.inbox import Inbox
from landline.testing.insights import insights

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
LOG_LINES = 5000
LOG_TIMEOUT_S = 5.0
LOOK_EVERY_S = 0.02
# Without the directory we are in: a project has modules called `secrets` or `token`, which are none of the server's.
COMMAND = (sys.executable, "-P", "-c", "from landline.app.cli import main; main()")
TIED = (sys.executable, "-P", "-m", "landline.testing.tied")
"""The same, for as long as we are there."""
RESOURCE = "local"
"""The resource that `landline dev` makes."""


class ServerFailed(Exception):
    """The server did not start, or did not end. The message carries the end of its log."""


class Server:
    """One `landline dev`. Make it, `start` it, `close` it (or use it in a `with`); it may be killed in between. It ends
    with the process that started it at the latest."""

    def __init__(
        self,
        data: Path | None = None,
        *,
        port: int = 0,
        arguments: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        """`data` None: a directory of its own, removed by `close`. `port` 0: any free one, kept by later starts."""
        self._port = given.count("port", port)
        self._arguments = given.texts("arguments", arguments)
        self._env = given.variables("env", env or {})
        self._own = tempfile.TemporaryDirectory(prefix="landline-", ignore_cleanup_errors=True)
        self.data = data or Path(self._own.name) / "data"
        self._ready_file = Path(self._own.name) / "ready.json"
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._changed = threading.Condition()
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._inboxes: list[Inbox] = []
        self.ready: dict[str, Any] = {}
        """What the ready file held."""
        self.start_s = 0.0
        """How long the last start took, in seconds."""

    def start(self, *, timeout: float = START_TIMEOUT_S) -> Self:
        """Start and wait until it serves. Raises `ServerFailed`, also when it runs already."""
        if self._process is not None and self._process.poll() is None:
            raise ServerFailed("it is running: start() once, or use it in a `with`, which starts it")
        given.seconds("timeout", timeout)
        began = time.monotonic()
        self._ready_file.unlink(missing_ok=True)
        self._process = self._spawn()
        self._reader = threading.Thread(target=self._read_log, args=(self._process,), daemon=True, name="landline-log")
        self._reader.start()
        self._wait_ready(self._process, began + timeout)
        self.start_s = time.monotonic() - began
        self._port = urlsplit(self.endpoint).port or 443
        return self

    def stop(self, *, with_signal: int = signal.SIGTERM, timeout: float = STOP_TIMEOUT_S) -> float:
        """Ask it to end and wait for it; the seconds that took. Raises `ServerFailed` when it had to be killed."""
        process = self._running()
        began = time.monotonic()
        process.send_signal(with_signal)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._kill_group(process)
            raise ServerFailed(f"it did not end within {timeout} s\n{self.log[-4000:]}") from None
        took_s = time.monotonic() - began
        self._read_to_the_end()
        return took_s

    def kill(self) -> None:
        """SIGKILL the supervisor process alone, as a crash would; its children are left to themselves."""
        process = self._running()
        process.kill()
        process.wait()
        self._read_to_the_end()

    def restart(self) -> Self:
        """Start again on the same data and port, after `stop` or `kill`."""
        return self.start()

    def close(self) -> None:
        """End it, whatever its state, and remove what `start` made."""
        for inbox in self._inboxes:
            inbox.close()
        self._inboxes.clear()
        if self._process is not None:
            if self._process.poll() is None:
                with suppress(ServerFailed):
                    self.stop()
            self._kill_group(self._process)
        self._own.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._running().pid

    @property
    def log(self) -> str:
        """The last lines it wrote, standard output and error together, over all its starts. While it runs they arrive a
        moment after they were written; after `stop` and `kill` they are all there."""
        with self._changed:
            return "".join(self._log)

    @property
    def connection_string(self) -> str:
        """For the `from_connection_string` of any SDK client."""
        return self._told("connectionString")

    @property
    def endpoint(self) -> str:
        """The endpoint inside the connection string."""
        fields = dict(part.split("=", 1) for part in self.connection_string.split(";") if part)
        return fields["endpoint"]

    @property
    def access_key(self) -> str:
        """The access key inside the connection string, as base64."""
        fields = dict(part.split("=", 1) for part in self.connection_string.split(";") if part)
        return fields["accesskey"]

    @property
    def phone_number(self) -> str:
        """The resource's toll-free number."""
        return self._told("phoneNumber")

    @property
    def ca_bundle(self) -> str:
        """Path of a PEM bundle: the public CAs and this server's own."""
        return self._told("caBundle")

    @property
    def admin(self) -> Admin:
        """Its admin API."""
        return Admin(self._told("adminUrl"), self._told("adminToken"), self.ca_bundle)

    @property
    def clock(self) -> Clock:
        """Its clock, to drive."""
        return Clock(self.admin)

    @property
    def carrier(self) -> Carrier:
        """The simulated carrier behind it."""
        return Carrier(self.admin)

    def handset(self, number: str) -> Handset:
        """The handset at `number` (E.164)."""
        return Handset(self.admin, number, home=self.phone_number)

    def insights(self, *by: str, since: datetime | None = None, until: datetime | None = None, **where: str) -> Any:
        """What became of the resource's messages, `by` any of `number`, `tag`, `country`, `carrier`, `hour`, `day`;
        `where` selects by the first four. Without `since` the last 24 hours (docs/guides/insights.md)."""
        return insights(self.admin, RESOURCE, *by, since=since, until=until, **where)

    def inbox(self, *, cloud_events: bool = False, **options: Any) -> Inbox:
        """A webhook subscribed to the resource's events until `close`. `options` go into the subscription as they
        are (docs/guides/testing.md)."""
        inbox = Inbox()
        name = f"inbox-{urlsplit(inbox.url).port}"
        schema = "CloudEventSchemaV1_0" if cloud_events else "EventGridSchema"
        body = {"name": name, "endpoint": inbox.url, "schema": schema, **options}
        path = f"/resources/{RESOURCE}/subscriptions"
        try:
            self.admin.call("POST", path, body)
        except BaseException:
            inbox.close()
            raise
        self._inboxes.append(inbox)
        inbox.on_close(lambda: self._unsubscribe(inbox, f"{path}/{name}"))
        return inbox

    def _unsubscribe(self, inbox: Inbox, path: str) -> None:
        if inbox in self._inboxes:
            self._inboxes.remove(inbox)
        if self._process is not None and self._process.poll() is None:
            self.admin.call("DELETE", path)

    def _spawn(self) -> subprocess.Popen[str]:
        command = [*TIED, "dev", "--data", str(self.data), "--port", str(self._port)]
        command += ["--ready-file", str(self._ready_file), *self._arguments]
        return subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            stdin=subprocess.PIPE,  # `tied` ends with it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self._env},
            start_new_session=True,
        )

    def _read_log(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout as lines:
            for line in lines:
                with self._changed:
                    self._log.append(line)
                    self._changed.notify_all()

    def _read_to_the_end(self) -> None:
        if self._reader is not None:
            self._reader.join(LOG_TIMEOUT_S)  # a child that outlives a kill may hold the pipe open

    def _wait_ready(self, process: "subprocess.Popen[str]", deadline: float) -> None:
        # A file system tells nobody portably that a file came: look at each line logged, and often.
        while not self._ready_file.exists():
            if process.poll() is not None:
                self._read_to_the_end()
                raise ServerFailed(f"it ended with {process.returncode}\n{self.log[-4000:]}")
            if time.monotonic() > deadline:
                self._kill_group(process)
                raise ServerFailed(f"it did not become ready in time\n{self.log[-4000:]}")
            with self._changed:
                self._changed.wait(LOOK_EVERY_S)
        self.ready = json.loads(self._ready_file.read_text())

    def _told(self, name: str) -> str:
        if not self.ready:
            raise ServerFailed("it was never started: call start(), or use it in a `with`")
        return self.ready[name]

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise ServerFailed("it was never started")
        return self._process

    def _kill_group(self, process: "subprocess.Popen[str]") -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
