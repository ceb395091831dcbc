"""What `doctor` looks at before a server is started."""

import asyncio
import socket
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from prometheus_client import CollectorRegistry
from tests.support.ports import free_port

from landline.app import cli_doctor, ready
from landline.app.admin_client import AdminClient
from landline.app.config import Mode
from landline.core.errors import Unavailable
from landline.edge.admin import admin_app
from landline.edge.server import bind, listen
from landline.store.embedded.lock import DirectoryLock


def checked(directory: Path, mode: Mode, text: str) -> list[cli_doctor.Finding]:
    file = directory / "landline.toml"
    file.write_text(text)
    return cli_doctor.check(mode, file, directory / "data", None)


@pytest.mark.parametrize(
    ("setting", "check"),
    [("smpp_listen_port", "SMPP port"), ("smpp_listen_tls_port", "SMPP port with TLS"), ("plain_http_port", "plain")],
)
def test_every_port_it_would_listen_on_is_looked_at(setting: str, check: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = taken.getsockname()[1]
        found = checked(tmp_path, "dev", f"port = 0\nadmin_port = 0\nhost = '127.0.0.1'\n{setting} = {port}\n")
    [about] = [each for each in found if each.check.removesuffix(" HTTP port") == check]
    assert not about.ok
    assert f"port {port} on 127.0.0.1 is taken" in about.detail


def test_two_of_its_own_ports_that_are_the_same_are_told(tmp_path: Path) -> None:
    port = free_port()
    found = checked(tmp_path, "dev", f"host = '127.0.0.1'\nport = {port}\nadmin_port = 0\nsmpp_listen_port = {port}\n")
    [about] = [each for each in found if each.check == "SMPP port"]
    assert not about.ok
    assert f"port {port} on 127.0.0.1 is taken" in about.detail


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ("ca_file = 'none.pem'", "none.pem: No such file or directory"),
        ("certificate_file = 'none.pem'", "none.pem: No such file or directory"),
        ("ca_file = 'landline.toml'", "landline.toml: "),
        ("key_file = 'none.pem'", "there is none"),
        ("certificate_file = 'ours.pem'", "certificate in PEM, and the key too, without a key_file"),
        ("certificate_file = 'ours.pem'\nkey_file = 'ours.pem'", "certificate in PEM, and its private key"),
    ],
)
def test_files_of_a_carriers_tls_are_opened_in_dev_too(tls: str, said: str, tmp_path: Path) -> None:
    trustme.CA().issue_cert("h").cert_chain_pems[0].write_to_path(tmp_path / "ours.pem")
    carrier = "kind = 'smpp'\nname = 'north'\nhost = 'h'\nport = 1\nsystem_id = 's'\npassword = 'p'\n"
    found = checked(tmp_path, "dev", f"[[carriers]]\n{carrier}[carriers.tls]\n{tls}\n")
    [about] = [each for each in found if each.check == "settings of dev"]
    assert about.detail.startswith("carrier north: tls: ")
    assert said in about.detail


def test_what_it_may_start_with_and_should_know_is_printed_as_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    carrier = "kind = 'smpp'\nname = 'north'\nhost = 'h'\nport = 1\nsystem_id = 's'\npassword = 'p'\n"
    file = tmp_path / "landline.toml"
    file.write_text(f"port = 0\nadmin_port = 0\n[[carriers]]\n{carrier}registered_delivery = 0\n")
    cli_doctor.doctor(config=file, data=tmp_path / "data", mode="dev")
    [about] = [line for line in capsys.readouterr().out.splitlines() if "asks for no receipts" in line]
    assert about.startswith("note carrier north: registered_delivery = 0 asks")


def test_a_server_that_was_killed_is_in_the_way_of_no_other(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "data")
    left = ready.Ready(admin_url="http://127.0.0.1:1", admin_token="x")
    ready.write(left, tmp_path / "data" / ready.IN_DATA)
    settings = "port = 0\nadmin_port = 0\nhost = '127.0.0.1'\n"
    hangs = checked(tmp_path, "dev", settings)
    [wrong] = [each for each in hangs if not each.ok]
    assert wrong.detail.startswith("one runs here and is not well: no server answers")
    lock.release()
    killed = checked(tmp_path, "dev", settings)
    assert all(each.ok for each in killed)
    assert "API port" in {each.check for each in killed}


@pytest.mark.parametrize(("lesser", "status"), [(["bus"], "degraded"), ([], "unavailable")])
async def test_what_the_health_of_a_running_server_complains_of_is_told(
    lesser: list[str], status: str, tmp_path: Path
) -> None:
    async def well() -> None: ...

    async def ill() -> None:
        raise Unavailable("NATS is out of reach")

    app = admin_app([], token="t", registry=CollectorRegistry(), checks={"store": well, "bus": ill}, lesser=lesser)
    [bound] = bind("127.0.0.1", 0)
    listener = await listen(app, [bound])
    url = f"http://127.0.0.1:{listener.port}"
    (tmp_path / "data").mkdir()
    ready.write(ready.Ready(admin_url=url, admin_token="t"), tmp_path / "data" / ready.IN_DATA)
    health = await asyncio.to_thread(AdminClient(url, "t").health)
    found = await asyncio.to_thread(checked, tmp_path, "dev", "")
    await listener.close()
    assert health["status"] == status
    told = {each.check: (each.ok, each.detail) for each in found if each.check.startswith("server")}
    assert told == {"server": (True, f"runs at , admin API at {url}"), "server's bus": (False, "NATS is out of reach")}


def test_a_worker_needs_no_certificate_and_no_public_port(tmp_path: Path) -> None:
    found = checked(tmp_path, "worker", "")
    assert not any("port" in each.check or "certificate" in each.detail for each in found)
    assert any(each.check == "settings of worker" and "set dsn" in each.detail for each in found)


@pytest.mark.parametrize(("left", "ok", "said"), [(80, True, "days left"), (9, True, "renew"), (-1, False, "ended on")])
def test_the_end_of_a_certificate_is_told(left: int, ok: bool, said: str, tmp_path: Path) -> None:
    ends = datetime.now(UTC) + timedelta(days=left)
    leaf = trustme.CA().issue_cert("sms.example.com", not_before=ends - timedelta(days=90), not_after=ends)
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    carrier = "kind = 'smpp'\nname = 'north'\nhost = 'h'\nport = 1\nsystem_id = 's'\npassword = 'p'\n"
    tls = "certificate_file = 'chain.pem'\nkey_file = 'key.pem'\n"
    served = "certificate = 'chain.pem'\ncertificate_key = 'key.pem'\n"
    found = checked(tmp_path, "dev", f"{served}[[carriers]]\n{carrier}[carriers.tls]\n{tls}")
    about = [each for each in found if each.check in ("certificate", "certificate for carrier:north")]
    assert [each.ok for each in about] == [ok, ok]
    assert all(said in each.detail for each in about)
