"""Starts that go wrong, and machines and users that are not as most are: what they are told fits on a line or two."""

import os
import re
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from tests.support import processes
from tests.support.patience import PATIENCE_S

from landline.testing.server import COMMAND, Server
from landline.testing.trust import Trust

TOOLS = Path(__file__).parents[2] / "tools"
PROXIES = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
SEND = """
import os
from azure.communication.sms import SmsClient
client = SmsClient.from_connection_string(os.environ["COMMUNICATION_SERVICES_CONNECTION_STRING"], retry_total=0)
print(client.send("+18005550100", "+14255550181", "Past the proxy")[0].http_status_code)
"""


def run(*arguments: object, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=env)


def test_a_refusal_of_the_configuration_is_all_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "landline.toml"
    carrier = 'kind = "smpp"\nname = "north"\nhost = "127.0.0.1"\nport = 1\nsystem_id = "x"\npassword_file = "none"'
    file.write_text(f"[[carriers]]\n{carrier}\n")
    refused = run("dev", "--data", tmp_path / "data", "--port", 0, "--config", file)
    assert refused.returncode == 1
    said = f"landline: carrier north: password_file: cannot read {tmp_path / 'none'}: No such file or directory\n"
    assert refused.stderr == said


def test_a_directory_is_shown_as_it_is_called(tmp_path: Path) -> None:
    with Server(tmp_path / "my [b]data[/b] ä") as server:
        server.stop()
        [shown] = re.findall(r"^export REQUESTS_CA_BUNDLE=(.*)$", server.log, re.MULTILINE)
        assert shlex.split(shown) == [server.ca_bundle]


def test_it_serves_a_user_whose_directory_has_umlauts_also_after_a_kill(tmp_path: Path) -> None:
    """Root's PostgreSQL runs as another user, is handed the directory by a descriptor, and never sees its name."""
    ready, data = tmp_path / "ready", tmp_path / "Jörg Müller" / "data"
    user = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    command = [*user, *COMMAND, "dev", "--data", str(data), "--port", "0", "--ready-file", str(ready)]
    for end, status in (("kill", -9), ("terminate", 0)):
        ready.unlink(missing_ok=True)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            processes.wait_serving(process, ready)
        finally:
            getattr(process, end)()
            ended = process.wait(PATIENCE_S)
        assert ended == status


def test_ctrl_c_while_modules_are_read_is_answered_with_no_traceback(tmp_path: Path) -> None:
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # which who runs the tests may have ignored
    (tmp_path / "cyclopts.py").write_text(f"import os, signal\n{heard}\nos.kill(os.getpid(), signal.SIGINT)\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    interrupted = run("dev", "--data", tmp_path, "--port", 0, env={**os.environ, "PYTHONPATH": path})
    assert (interrupted.returncode, interrupted.stdout, interrupted.stderr) == (130, "", "")


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_it_serves_where_standard_streams_are_closed(closed: str, tmp_path: Path) -> None:
    ready, said = tmp_path / "ready.json", tmp_path / "said"
    command = shlex.join([*COMMAND, "dev", "--data", str(tmp_path / "data"), "--port", "0", "--ready-file", str(ready)])
    process = subprocess.Popen(["/bin/sh", "-c", f"exec {command} >{said} 2>&1 {closed}"], stdin=subprocess.DEVNULL)
    try:
        processes.wait_serving(process, ready)
    except AssertionError as error:
        raise AssertionError(said.read_text()) from error
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_the_lines_for_a_shell_keep_the_sdks_from_a_proxy_of_the_environment(landline: Server) -> None:
    environment = {**{name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}, **PROXIES}
    lines = run("env", "--data", landline.data, env=environment).stdout
    script = f"{lines}\nexec {shlex.join([sys.executable, '-c', SEND])}"
    sent = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert sent.stdout == "202\n", sent.stderr


def test_tests_ask_no_proxy_for_their_servers(
    landline: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", "intranet.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    trust = Trust(tmp_path / "bundle.pem")
    trust.add(landline.ca_bundle)
    try:
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "intranet.example,localhost,.localhost,127.0.0.1,::1"
    finally:
        trust.restore()
    assert (os.environ["no_proxy"], os.environ.get("NO_PROXY")) == ("intranet.example", None)


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_YY"])
def test_an_installation_of_the_source_starts_whatever_its_directory_is_called(locale: str, tmp_path: Path) -> None:
    """As `make run` makes it. Python up to 3.12 reads the path in the locale's encoding, whatever UTF-8 mode says."""
    tree = tmp_path / "Künstler"
    (tree / "src").mkdir(parents=True)
    (tree / "src" / "found.py").write_text("print('here')")
    venv.create(tree / ".venv")
    [places] = (tree / ".venv" / "lib").glob("python3*/site-packages")
    (places / "_editable_impl_landline.pth").write_text(str(tree / "src"), "utf-8")
    subprocess.run([TOOLS / "relative-source", tree / ".venv"], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_"))}
    command = [tree / ".venv" / "bin" / "python", "-c", "import found"]
    started = subprocess.run(
        command, env={**environment, "LC_ALL": locale}, capture_output=True, text=True, check=False
    )
    assert (started.returncode, started.stdout, started.stderr) == (0, "here\n", "")
