"""`landline dev` and `landline serve` as their users run them: started, asked, stopped, killed, started again."""

import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path

import pytest
import trustme
from tests.support import processes
from tests.support.patience import PATIENCE_S

from landline.testing.server import COMMAND, Server, ServerFailed

HANGING = """
import sys
from pathlib import Path
from landline.app import logs, serving, supervisor
from landline.app.application import DevInfo
from landline.app.config import load
from landline.edge import server
from landline.edge.http import Limits
from landline.edge.room import Room

class Hanging:
    limits = Limits()
    room = Room(limits)
    public_app = admin_app = property(lambda self: self)

    async def start(self, customers, customers_tls, tls): pass
    async def failed(self): await __import__("asyncio").Event().wait()
    async def close(self): pass
    def dev_info(self): return DevInfo("endpoint=https://localhost/;accesskey=eA==", "+18005550100")

    async def respond(self, request, refusal=None):
        print("asked", flush=True)
        await __import__("asyncio").Event().wait()

async def build(config, dsn, clock, place):
    return Hanging()

serving.DRAIN_S = server.DRAIN_S = float(sys.argv[2])
logs.configure("warning", "console")
config = load("dev", environment={}, flags={"data": sys.argv[1], "port": 0, "admin_port": 0})
supervisor.run(config, build, lambda ready, seconds: print(ready.admin_url, flush=True))
"""


@pytest.fixture
def stack() -> Generator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def cli(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


def postmaster(data: Path) -> int:
    return int((data / "postgresql" / "data" / "postmaster.pid").read_text().split("\n")[0])


def gone(pid: int, within_s: float = PATIENCE_S) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(within_s * 1000))
    finally:
        os.close(descriptor)


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_says_where_it_is_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        ready_file = server._ready_file
        ready = json.loads(ready_file.read_text())
        assert ready_file.stat().st_mode & 0o777 == 0o600
        assert {"connectionString", "caBundle", "phoneNumber", "adminUrl", "adminToken"} <= ready.keys()
        assert json.loads((tmp_path / "data" / "server.json").read_text()) == ready
        pid = postmaster(server.data)
        server.stop()
        assert gone(pid, 0)
        for said in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", ready["connectionString"], "serves"):
            assert said in server.log
    assert not ready_file.exists()
    assert not (tmp_path / "data" / "server.json").exists()
    assert not (tmp_path / "data" / "postgresql" / "socket").exists()


@pytest.fixture(scope="module")
def running() -> Generator[Server]:
    with Server() as server:
        yield server


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "local.localhost"])
def test_clients_that_trust_the_bundle_are_answered(name: str, running: Server) -> None:
    context = ssl.create_default_context(cafile=running.ca_bundle)
    port = int(running.endpoint.rstrip("/").rpartition(":")[2])
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    connection = HTTPSConnection(name, port)
    connection.sock = context.wrap_socket(plain, server_hostname=name)
    connection.request("GET", "/")
    assert connection.getresponse().read() is not None
    connection.close()


def test_env_prints_lines_that_a_shell_understands(running: Server) -> None:
    printed = cli("env", "--data", running.data).stdout
    script = f'{printed}\necho "$COMMUNICATION_SERVICES_CONNECTION_STRING|$REQUESTS_CA_BUNDLE"'
    shown = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert shown == f"{running.connection_string}|{running.ca_bundle}"


def test_a_second_start_on_the_same_data_is_refused_in_one_line(running: Server) -> None:
    second = cli("dev", "--data", running.data, "--port", 0)
    assert second.returncode == 1
    assert f"in use by process {running.pid}" in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_refused_in_one_line(running: Server, tmp_path: Path) -> None:
    port = running.endpoint.rstrip("/").rpartition(":")[2]
    second = cli("dev", "--data", tmp_path, "--port", port)
    assert second.returncode == 1
    assert f"port {port} on localhost is taken" in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_directory_that_is_full_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, os\n"
        "real = os.fsync\n"
        "def full(fd):\n"
        "    raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "os.fsync = full\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [*COMMAND, "dev", "--data", str(tmp_path / "data"), "--port", "0"]
    env = {**os.environ, "PYTHONPATH": path}
    full = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert full.returncode == 1
    assert full.stderr == "landline: No space left on device: mend that, or choose another directory\n"


def test_servers_run_side_by_side(running: Server) -> None:
    with Server() as other:
        assert other.endpoint != running.endpoint
        assert other.ready["adminUrl"] != running.ready["adminUrl"]


def test_doctor_finds_nothing_wrong_with_a_running_server(running: Server) -> None:
    report = cli("doctor", "--data", running.data, "--json")
    assert report.returncode == 0, report.stdout
    assert any("runs at" in finding["detail"] for finding in json.loads(report.stdout))


def test_doctor_says_which_carrier_of_a_running_server_is_down() -> None:
    north = {"kind": "smpp", "name": "north", "host": "127.0.0.1", "port": 1, "system_id": "us", "password": "secret"}
    with Server(env={"LANDLINE_CARRIERS": json.dumps([north])}) as server:
        report = cli("doctor", "--data", server.data)
    assert report.returncode == 1
    assert "BAD  carrier north: 127.0.0.1:1 as us: cannot connect" in report.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dev", "--prot", "1"], "--prot"),
        (["env", "--data", "/nowhere"], "no server runs on /nowhere"),
        (["resource", "list", "--admin-url", "http://127.0.0.1:1", "--admin-token", "x"], "no server answers"),
        (["dev", "--config", "/nowhere.toml"], "cannot read /nowhere.toml"),
        (["dev", "--port", "0", "--ready-file", "/proc/nowhere/ready.json"], "ready_file: cannot make /proc/nowhere"),
        (["dev", "--port", "0", "--ready-file", "/"], "ready_file: / cannot be written"),
        (["migrate", "--dsn", "postgresql://nobody@127.0.0.1:1/none"], "cannot reach PostgreSQL"),
    ],
)
def test_errors_are_one_line_without_a_traceback(arguments: list[str], said: str) -> None:
    result = cli(*arguments)
    assert result.returncode == 1
    assert said in result.stderr
    assert result.stderr.startswith("landline: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "moment", ["lock", "postgresql/data", "postgresql/socket", "certificates/bundle.pem", "server.json"]
)
def test_a_kill_at_any_moment_is_survived_by_the_next_start(moment: str, tmp_path: Path) -> None:
    command = [*COMMAND, "dev", "--data", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / moment, process)
    process.kill()
    process.communicate()
    with Server(tmp_path) as server:
        assert server.connection_string


def test_its_data_and_keys_are_there_again_after_a_kill() -> None:
    with Server() as server:
        first = server.connection_string
        pid = postmaster(server.data)
        server.kill()
        assert gone(pid)
        server.restart()
        assert server.connection_string == first


def test_a_database_given_by_its_dsn_is_used(dsn: str, tmp_path: Path) -> None:
    with Server(tmp_path, env={"LANDLINE_DSN": dsn}) as server:
        assert server.connection_string
        assert not (tmp_path / "postgresql").exists()


@pytest.mark.parametrize(("signals", "drain_s"), [(1, 0.5), (2, 3600.0)])
def test_requests_that_never_end_are_cut_off_and_a_second_signal_cuts_at_once(
    tmp_path: Path, stack: ExitStack, signals: int, drain_s: float
) -> None:
    command = [sys.executable, "-c", HANGING, str(tmp_path), str(drain_s)]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.kill)
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    pid = postmaster(tmp_path)
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert process.stdout.readline() == "asked\n"
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        while processes.pending(process.pid, signal.SIGINT):  # two that wait together are one to the receiver
            os.sched_yield()
    process.wait(PATIENCE_S)
    assert gone(pid)


def _certificate(directory: Path, authority: trustme.CA, name: str) -> None:
    leaf = authority.issue_cert(name, not_after=datetime.now(UTC) + timedelta(days=90))
    leaf.private_key_pem.write_to_path(directory / "key.pem")
    (directory / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


def _common_names(port: int, authority: trustme.CA) -> set[str]:
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as client:
        presented = client.getpeercert()
    assert presented
    return {str(value) for kind, value in presented["subjectAltName"] if kind == "DNS"}


def test_serve_starts_with_what_production_needs_and_reads_new_certificates(tmp_path: Path, dsn: str) -> None:
    authority = trustme.CA(organization_name="A real one")
    _certificate(tmp_path, authority, "old.example")
    (tmp_path / "secret").write_text("Zm9ydHktdHdvIGJ5dGVzIG9mIHJhbmRvbSBub2lzZSE\n")
    (tmp_path / "landline.toml").write_text(
        f'dsn = "{dsn}"\ndata = "data"\nhost = "127.0.0.1"\nport = 0\nadmin_port = 0\nready_file = "ready"\n'
        'certificate = "chain.pem"\ncertificate_key = "key.pem"\nsealing_secret_file = "secret"\n'
        'smpp_listen_tls_port = 0\nsmpp_listen_host = "127.0.0.1"\n'
        '[[carriers]]\nkind = "smpp"\nname = "north"\nhost = "127.0.0.1"\nport = 1\nsystem_id = "us"\npassword = "pw"\n'
    )
    command = [*COMMAND, "serve", "--config", str(tmp_path / "landline.toml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(tmp_path / "ready", process)
        ready = json.loads((tmp_path / "ready").read_text())
        port, smpp_port = (int(ready[name].rpartition(":")[2]) for name in ("url", "smppTlsAddress"))
        assert "connectionString" not in ready
        assert "smppAddress" not in ready
        assert [_common_names(each, authority) for each in (port, smpp_port)] == [{"old.example"}] * 2
        _certificate(tmp_path, authority, "new.example")
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        while "certificate.loaded" not in process.stderr.readline():
            assert process.poll() is None
        assert [_common_names(each, authority) for each in (port, smpp_port)] == [{"new.example"}] * 2
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_a_sealing_secret_that_an_embedded_database_was_not_begun_with_is_told_without_starting_it(
    tmp_path: Path,
) -> None:
    _certificate(tmp_path, trustme.CA(organization_name="A real one"), "sms.example")
    (tmp_path / "secret").write_text("Zm9ydHktdHdvIGJ5dGVzIG9mIHJhbmRvbSBub2lzZSE\n")
    (tmp_path / "landline.toml").write_text(
        'data = "data"\nhost = "127.0.0.1"\nport = 0\nadmin_port = 0\nready_file = "ready"\n'
        'certificate = "chain.pem"\ncertificate_key = "key.pem"\nsealing_secret_file = "secret"\n'
    )
    command = [*COMMAND, "serve", "--config", str(tmp_path / "landline.toml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(tmp_path / "ready", process)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert "BAD" not in cli("doctor", "--config", tmp_path / "landline.toml").stdout
    (tmp_path / "secret").write_text("QW5vdGhlciBmb3J0eS10d28gYnl0ZXMgb2Ygbm9pc2Uh\n")
    told = cli("doctor", "--config", tmp_path / "landline.toml")
    assert told.returncode == 1
    assert "BAD  sealing secret: a stored secret does not open with the configured sealing secret" in told.stdout


def test_serve_refuses_what_belongs_to_dev_with_one_line_for_each(tmp_path: Path) -> None:
    (tmp_path / "landline.toml").write_text("driven_clock = true\nsimulated_carrier = true\n")
    refused = cli("serve", "--config", tmp_path / "landline.toml")
    assert refused.returncode == 1
    problems = [line for line in refused.stderr.splitlines() if line.startswith("  - ")]
    assert [problem.split()[1:3] for problem in problems] == [
        ["set", "certificate"],
        ["there", "is"],
        ["set", "simulated_carrier"],
        ["set", "driven_clock"],
    ]


def test_migrate_prints_what_it_applied_once(dsn: str) -> None:
    first = cli("migrate", "--dsn", dsn)
    assert first.returncode == 0, first.stderr
    assert all("/0" in line for line in first.stdout.splitlines())
    assert "nothing to do" in cli("migrate", "--dsn", dsn).stdout


def test_a_server_that_cannot_start_leaves_no_process(tmp_path: Path) -> None:
    server = Server(tmp_path, env={"LANDLINE_POSTGRES_SETTINGS": '{"shared_buffers": "nonsense"}'})
    try:
        with pytest.raises(ServerFailed, match="ended with 1"):
            server.start()
    finally:
        server.close()
    assert not (tmp_path / "server.json").exists()
