"""The programs of a run: PostgreSQL, NATS, three SMSCs, and the machines of Landline, each with lines of its own to all
of these, so that a machine can lose any of them alone. Or, alone, one machine with its own PostgreSQL and NATS.

One SMSC, "west", speaks TLS, and so does every other bind of the customer.
"""

import asyncio
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import asyncpg
from tests.chaos.cables import Line
from tests.chaos.smsc import PASSWORD, SYSTEM_ID
from tests.support import processes
from tests.support.ports import free_port

from landline.engines.nats.server import found
from landline.store.embedded import EmbeddedServer, binaries
from landline.store.embedded.account import Account, choose
from landline.testing.admin import Admin, AdminError
from landline.testing.server import COMMAND

SECRET = "Zx1-chaos-run-7f3b9a2d8c6e4051-and-more"
START_S = 60.0
POLICIES = {"north": "resend", "south": "unknown", "west": "query"}
RESPONSE_S = 5.0
WINDOW = 10
BINDS = {"north": 3, "south": 2, "west": 2}
OVER_TLS = "west"
MESSAGE_IDS = {"north": "as-is", "south": "dec-hex", "west": "as-is"}
REPOSITORY = Path(__file__).parents[2]


FAKETIME = Path("/usr/lib") / f"{platform.machine()}-linux-gnu" / "faketime" / "libfaketime.so.1"
"""Debian's `faketime`."""


def tree(pid: int) -> list[processes.Process]:
    return processes.tree(pid)


def tell(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each; those that have gone are passed over."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class Program(ABC):
    """Something that runs, is killed, and is started again for as long as it is `wanted`."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / f"{name}.log"
        self.wanted = False
        self.process: subprocess.Popen[bytes] | None = None
        self.lives = 0
        self.starts: list[float] = []
        self.environment: dict[str, str] = {}
        self._stopped: set[int] = set()

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What starts it."""

    def launch(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
            )

    def start(self) -> None:
        self.lives += 1
        self.wanted = True
        self.starts.append(time.time())
        self.process = self.launch()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def pids(self) -> list[int]:
        """Its processes, the first first."""
        return [each.pid for each in tree(self.process.pid)] if self.process is not None and self.running else []

    def tell(self, number: signal.Signals, which: int | None = None) -> str:
        """Signal all its processes, or that one of them; what was done, in words."""
        pids = self.pids()
        chosen = pids if which is None or not pids else [pids[which % len(pids)]]
        tell(chosen, number)
        if number == signal.SIGSTOP:
            self._stopped.update(chosen)
        return f"{number.name} {self.name} {chosen[:4]}{' …' if len(chosen) > 4 else ''}"

    def wake(self) -> None:
        """Have all go on, those too whose parent was killed meanwhile."""
        tell({*self.pids(), *self._stopped}, signal.SIGCONT)
        self._stopped.clear()

    async def stop(self, number: signal.Signals = signal.SIGTERM, patience_s: float = 30.0) -> None:
        """End it, at the latest with SIGKILL."""
        self.wanted = False
        if self.process is None:
            return
        left = self.pids()
        if left:
            tell(left if number == signal.SIGKILL else left[:1], number)
        deadline = time.monotonic() + patience_s
        while self.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if self.process.poll() is None:
            tell(left, signal.SIGKILL)
        await asyncio.to_thread(self.process.wait)

    async def keep(self) -> None:
        """As a service manager: start it again a second after it ended, while it is wanted."""
        while True:
            if self.wanted and not self.running:
                await asyncio.sleep(1.0)
                if self.wanted and not self.running:
                    self.start()
            await asyncio.sleep(0.1)


class Postgres(Program):
    """A PostgreSQL of the run, on loopback."""

    def __init__(self, directory: Path) -> None:
        super().__init__("postgres", directory)
        self.port = free_port()
        self._data = directory / "postgres"
        self._account: Account = choose(self._data)
        chosen = binaries.find("auto")[0]
        self._programs = binaries.reachable(chosen, self._account).directory
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/chaos"

    def create(self) -> None:
        self._data.mkdir(mode=0o700)
        self._account.own(self._data)
        command = [self._programs / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"]
        code, said = self._account.run([*command, "--no-locale"])
        assert code == 0, said

    def command(self) -> Sequence[str | Path]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "track_commit_timestamp": "on",  # which the judge asks for
            "fsync": "off",  # the machine does not fall, its processes do
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self._data, *options]

    def launch(self) -> "subprocess.Popen[bytes]":
        with suppress(FileNotFoundError):
            self._bury()
        with self.log.open("ab") as log:
            return self._account.popen(self.command(), dies_with_us=signal.SIGKILL, output=log, fds=[])

    def _bury(self) -> None:
        """A postmaster that was killed left its file, whose process id may be another's by now."""
        pid_file = self._data / "postmaster.pid"
        pid = int(pid_file.read_text().split("\n", 1)[0])
        if not Path(f"/proc/{pid}").exists():
            pid_file.unlink()

    async def answers(self, database: str = "postgres") -> Any:
        """A connection, as soon as there is one."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                return await asyncpg.connect(self.dsn.rsplit("/", 1)[0] + f"/{database}", timeout=5)
            except (OSError, asyncpg.PostgresError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)


class OwnPostgres(Program):
    """The one that a machine has embedded, and starts again by itself."""

    def __init__(self, machine: "Machine") -> None:
        super().__init__("postgres", machine.directory)
        self._machine = machine

    def command(self) -> Sequence[str | Path]:
        raise AssertionError("its machine starts it")

    def start(self) -> None:
        self.wanted = True

    async def keep(self) -> None:
        """That is its machine's part."""

    async def stop(self, number: signal.Signals = signal.SIGTERM, patience_s: float = 30.0) -> None:
        self.wanted = False

    def pids(self) -> list[int]:
        found = next((each for pid in self._machine.pids()[:1] if (each := processes.postmaster(pid))), None)
        return [] if found is None else [each.pid for each in tree(found.pid)]

    async def answers(self, database: str = "postgres") -> Any:
        """A connection to Landline's database, as soon as there is one."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                return await asyncpg.connect(EmbeddedServer(self._machine.data / "postgresql").dsn, timeout=5)
            except (OSError, asyncpg.PostgresError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)


class Nats(Program):
    """A NATS of the run, on loopback."""

    def __init__(self, directory: Path) -> None:
        super().__init__("nats", directory)
        self.port = free_port()
        self._program = found("auto")

    def command(self) -> Sequence[str | Path]:
        return [self._program, "-a", "127.0.0.1", "-p", str(self.port)]


class SmscProgram(Program):
    """One SMSC; see tests/chaos/smsc.py."""

    def __init__(self, name: str, directory: Path, tls: Sequence[Path]) -> None:
        """`tls`: its certificate and key."""
        super().__init__(name, directory)
        self.port = free_port()
        self._tls = tls
        self.journal = directory / f"{name}.journal"
        self.journal.touch()
        self._read = 0

    def command(self) -> Sequence[str | Path]:
        return [
            sys.executable,
            "-m",
            "tests.chaos.smsc",
            str(self.port),
            str(self.journal),
            str(self.lives),
            self.name,
            *self._tls,
        ]

    def say(self, **asked: Any) -> None:
        """A command; lost when the SMSC is dead, as its conduct is then anyway."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.write(json.dumps(asked).encode() + b"\n")
                self.process.stdin.flush()

    def news(self) -> list[list[Any]]:
        """The lines of the journal since the last call."""
        with self.journal.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read += whole
        return [json.loads(line) for line in data[:whole].splitlines()]


@dataclass
class Lines:
    """From one machine to everything it needs."""

    smscs: dict[str, Line]
    postgres: Line | None = None
    nats: Line | None = None
    """None: its own."""

    def every(self) -> list[Line]:
        return [*self.smscs.values(), *(line for line in (self.postgres, self.nats) if line is not None)]


class Machine(Program):
    """Landline on one machine: `serve` or `worker`."""

    def __init__(self, name: str, directory: Path, kind: str, workers: int) -> None:
        super().__init__(name, directory)
        self.kind = kind
        self.workers = workers
        self.port = free_port()
        self.admin_port = free_port()
        self.smpp_port = free_port()
        self.smpp_tls_port = free_port()
        self.lines: Lines | None = None
        self.data = directory / f"{name}-data"
        self._config = directory / f"{name}.toml"

    def configure(self, public: dict[str, Any], plan: "Plan") -> None:
        """Write its file, which it reads when it starts."""
        assert self.lines is not None
        settings: dict[str, Any] = {
            "domain": "localhost",
            "sealing_secret": SECRET,
            "sms_countries": ["*"],
            "sms_guard": False,
            "webhook_allow": ["127.0.0.1"],
            "workers": plan.workers.get(self.name, self.workers),
            "admin_port": self.admin_port,
            "admin_token": "chaos-admin-token-0123456789",
            "data": str(self.data),
            **public,
        }
        if self.lines.postgres is not None:
            settings["dsn"] = f"postgresql://postgres@127.0.0.1:{self.lines.postgres.port}/chaos"
        if self.lines.nats is not None:
            settings["nats_urls"] = [f"nats://127.0.0.1:{self.lines.nats.port}"]
        if self.kind == "serve":
            settings |= {"host": "127.0.0.1", "port": self.port}
            settings |= {"smpp_listen_port": self.smpp_port, "smpp_listen_tls_port": self.smpp_tls_port}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        for name, line in self.lines.smscs.items():
            if name == plan.without:
                continue
            carrier = {
                "name": name,
                "kind": "smpp",
                "host": "127.0.0.1",
                "port": line.port,
                "system_id": SYSTEM_ID,
                "password": PASSWORD,
                "binds": BINDS[name],
                "window": WINDOW,
                "message_ids": MESSAGE_IDS[name],
                "crash_policy": POLICIES[name],
                "response_s": RESPONSE_S,
                "enquire_link_s": 3.0,
                "backoff_first_s": 0.2,
                "backoff_limit_s": 2.0,
                "throttle_patience_s": 10.0,
                **({"binding": "pair"} if name == "west" else {}),
                **plan.carriers.get(name, {}),
            }
            if name == OVER_TLS:
                carrier["tls"] = {"ca_file": public["certificate"], "server_name": "localhost"}
            lines += ["[[carriers]]", *(f"{key} = {_toml(value)}" for key, value in carrier.items())]
        for route in plan.routes():
            lines += ["[[routes]]", *(f"{key} = {_toml(value)}" for key, value in route.items())]
        self._config.write_text("\n".join(lines) + "\n")
        os.chmod(self._config, 0o600)

    async def upgrade(self) -> None:
        """End the older version in order, and start the present one."""
        others = self.environment["PYTHONPATH"].split(os.pathsep)
        others = [*(each for each in others if "older" not in Path(each).parts), os.environ.get("PYTHONPATH", "")]
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, others))
        await self.stop()
        self.start()

    def command(self) -> Sequence[str | Path]:
        return ["nice", "-n", "5", *COMMAND, self.kind, "--config", str(self._config)]

    @property
    def admin(self) -> Admin:
        return Admin(f"http://127.0.0.1:{self.admin_port}", "chaos-admin-token-0123456789")

    async def serves(self) -> None:
        """Return when it is well."""
        deadline = time.monotonic() + START_S
        while True:
            with suppress(Exception):
                health = await asyncio.to_thread(self.admin.call, "GET", "/healthz", timeout_s=5.0)
                if health:
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not serve\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.2)


@dataclass
class Plan:
    """What all machines are to be started with; it changes, and then they are started anew, one after the other."""

    carriers: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """What of each carrier is not as at first."""
    without: str | None = None
    """A carrier that is none any more."""
    missed: set[str] = field(default_factory=set[str])
    """All that were none at any time: a machine that was not started anew since does not know them."""
    workers: dict[str, int] = field(default_factory=dict[str, int])
    """How many processes a machine has, where these are not as many as at first."""
    first: str = "south"
    """The carrier of codes."""
    weight: int = 2
    """North's, of what is no code."""

    def routes(self) -> list[dict[str, Any]]:
        """The rules of the configuration, without those that would have no carrier."""
        codes: list[dict[str, Any]] = [{"carrier": self.first}, {"carrier": "west", "weight": 0}]
        every: list[dict[str, Any]] = [
            {"carrier": "north", "weight": self.weight},
            {"carrier": "south"},
            {"carrier": "west"},
        ]
        routes = [
            {"name": "codes", "priority": 10, "tags": ["otp"], "carriers": self._there(codes)},
            {"name": "all", "carriers": self._there(every)},
        ]
        return [route for route in routes if route["carriers"]]

    def _there(self, choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
        there = {each["carrier"]: each for each in reversed(choices) if each["carrier"] != self.without}
        chosen = [there[name] for name in reversed(there)]
        return chosen if any(each.get("weight", 1) for each in chosen) else [{"carrier": name} for name in there]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {json.dumps(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(value)


@dataclass
class Stage:
    """All of it."""

    directory: Path
    postgres: Postgres | OwnPostgres
    nats: Nats | None
    smscs: dict[str, SmscProgram]
    machines: list[Machine]
    certificate: Path
    key: Path
    clock: Path | None = None
    """What the machines' clocks are ahead of ours, where they are set."""
    behind_s: float = 0.0
    plan: Plan = field(default_factory=Plan)
    policies: dict[str, set[str]] = field(default_factory=lambda: {name: {each} for name, each in POLICIES.items()})
    """Of each carrier, all that were its crash policy at any time."""
    tasks: list["asyncio.Task[None]"] = field(default_factory=list["asyncio.Task[None]"])

    @classmethod
    def of(
        cls, directory: Path, *, alone: bool, ahead_s: float = 0.0, back: bool = False, older: str | None = None
    ) -> "Stage":
        """`ahead_s`: by how much beta's clock is ahead of all others. `back`: whether `set_back` is possible. `older`:
        the commit all machines begin with."""
        certificate, key = _certificate(directory)
        smscs = {
            name: SmscProgram(name, directory, (certificate, key) if name == OVER_TLS else ()) for name in POLICIES
        }
        alpha = Machine("alpha", directory, "serve", 2)
        machines = [alpha, Machine("beta", directory, "serve", 1), Machine("gamma", directory, "worker", 1)]
        if older is not None:
            source = {"PYTHONPATH": str(_checked_out(older, directory))}
            for machine in machines:
                machine.environment |= source
        if alone:
            return cls(directory, OwnPostgres(alpha), None, smscs, [alpha], certificate, key)
        clock = directory / "clock"
        clock.write_text("+0s\n")
        for machine in machines if back else machines[1:2] if ahead_s else []:
            assert FAKETIME.exists(), "apt-get install faketime"
            told = {"FAKETIME": f"{ahead_s:+}s"}
            if back:
                told = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1"}
            machine.environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME_DONT_FAKE_MONOTONIC": "1", **told}
        return cls(
            directory, Postgres(directory), Nats(directory), smscs, machines, certificate, key, clock if back else None
        )

    @property
    def programs(self) -> list[Program]:
        return [*self._others, *self.machines]

    @property
    def _others(self) -> list[Program]:
        """What the machines are served by."""
        return [self.postgres, *([] if self.nats is None else [self.nats]), *self.smscs.values()]

    @property
    def lines(self) -> list[Line]:
        return [line for machine in self.machines if machine.lines for line in machine.lines.every()]

    async def start(self) -> None:
        self.directory.chmod(0o755)
        if isinstance(self.postgres, Postgres):
            await asyncio.to_thread(self.postgres.create)
        for program in self._others:
            program.start()
        if isinstance(self.postgres, Postgres):
            connection = await self.postgres.answers()
            await connection.execute("CREATE DATABASE chaos ENCODING 'UTF8' TEMPLATE template0")
            await connection.close()
        for machine in self.machines:
            machine.lines = await self._laid(machine)
            self.configure(machine)
            machine.start()
            await machine.serves()
        self.tasks += [asyncio.create_task(program.keep()) for program in self.programs]

    def configure(self, machine: Machine) -> None:
        """Have it start by the present plan from now on."""
        machine.configure({"certificate": str(self.certificate), "certificate_key": str(self.key)}, self.plan)
        for name, changed in self.plan.carriers.items():
            if "crash_policy" in changed:
                self.policies[name].add(changed["crash_policy"])

    def binds(self, carrier: str) -> int:
        """How many all machines together are to have."""
        return self.plan.carriers.get(carrier, {}).get("binds", BINDS[carrier])

    async def _laid(self, machine: Machine) -> Lines:
        async def line(to: Program, port: int) -> Line:
            return await Line(f"{machine.name}-{to.name}", port).lay()

        lines = Lines({name: await line(smsc, smsc.port) for name, smsc in self.smscs.items()})
        if isinstance(self.postgres, Postgres):
            lines.postgres = await line(self.postgres, self.postgres.port)
        if self.nats is not None:
            lines.nats = await line(self.nats, self.nats.port)
        return lines

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of the first machine that has one, however long that takes. Raises `AdminError` for a refusal."""
        while True:
            for machine in self.machines:
                try:
                    return await asyncio.to_thread(machine.admin.call, method, path, body, timeout_s=8.0)
                except AdminError as error:
                    if error.status not in (0, 503):
                        raise
                except HTTPException:
                    pass
            await asyncio.sleep(1.0)

    def set_back(self, seconds: float) -> None:
        """The clocks of all machines, within a second: what a hypervisor does, or who sets a wrong time right."""
        assert self.clock is not None
        self.behind_s = round(self.behind_s + seconds, 1)
        written = self.clock.with_suffix(".new")
        written.write_text(f"-{self.behind_s}s\n")
        written.replace(self.clock)

    def heal(self) -> None:
        """Everything runs and reaches everything."""
        for program in self.programs:
            program.wake()
            program.wanted = True
        for line in self.lines:
            line.heal()
        for smsc in self.smscs.values():
            smsc.say(conduct={}, listen=True)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.heal()
        for machine in self.machines:
            await machine.stop()
        for program in self._others[1:]:
            await program.stop(signal.SIGKILL)
        await self.postgres.stop(signal.SIGQUIT)
        for line in self.lines:
            await line.end()


def _checked_out(commit: str, directory: Path) -> Path:
    """The sources of a commit of this repository."""
    root = directory / "older"
    root.mkdir()
    command = ["git", "-C", str(REPOSITORY), "archive", commit, "src"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(root)], input=archive, check=True)
    return root / "src"


def _certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    openssl = shutil.which("openssl")
    assert openssl is not None
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
