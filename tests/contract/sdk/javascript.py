"""Runs the tests of the JavaScript SDKs against a server, by node's own test runner."""

import os
import subprocess
from pathlib import Path

from landline.testing import Server

HERE = Path(__file__).parent / "js"


def run_js(server: Server, file: str) -> None:
    """Run one file of `js/`; it has been told where the server is."""
    env = {
        **os.environ,
        "NODE_EXTRA_CA_CERTS": server.ca_bundle,
        "LANDLINE_CONNECTION_STRING": server.connection_string,
        "LANDLINE_PHONE_NUMBER": server.phone_number,
        "LANDLINE_ADMIN_URL": server.ready["adminUrl"],
        "LANDLINE_ADMIN_TOKEN": server.ready["adminToken"],
    }
    run = subprocess.run(
        ["node", "--test", "--test-reporter=spec", file],
        cwd=HERE,
        env=env,
        text=True,
        timeout=600,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    print(run.stdout)
    assert run.returncode == 0
