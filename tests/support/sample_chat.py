"""The sample application of samples/chat: its packages, its page as it is bundled, its server."""

import fcntl
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.npm import installed
from tests.support.patience import PATIENCE_S

from landline.testing import Server

SAMPLE = Path(__file__).parents[2] / "samples" / "chat"
_SOURCES = ("page.jsx", "build.js", "nothing.cjs", "package-lock.json")


def modules() -> Path:
    """Its `node_modules`."""
    return installed(SAMPLE)


def certificate(server: Server) -> Path:
    """What a browser has to believe to talk to `server`."""
    return server.data / "certificates" / "certificate.pem"


@contextmanager
def serving(server: Server) -> Iterator[str]:
    """The sample's server beside a Landline; the URL of its page."""
    _build()
    env = {
        **os.environ,
        "NODE_EXTRA_CA_CERTS": server.ca_bundle,
        "COMMUNICATION_SERVICES_CONNECTION_STRING": server.connection_string,
        "PORT": "0",
    }
    run = subprocess.Popen(["node", "server.js"], cwd=SAMPLE, env=env, text=True, stdout=subprocess.PIPE)
    assert run.stdout
    try:
        said = run.stdout.readline()
        found = re.search(r"http://localhost:\d+/", said)
        assert found, f"the sample did not start: {said}"
        yield found[0]
    finally:
        run.terminate()
        run.communicate(timeout=PATIENCE_S)


def _build() -> None:
    modules()
    page = SAMPLE / "build" / "page.js"
    with (SAMPLE / "package.json").open() as guard:  # several test processes may want it at once
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not page.exists() or page.stat().st_mtime < max((SAMPLE / each).stat().st_mtime for each in _SOURCES):
            subprocess.run(["node", "build.js"], cwd=SAMPLE, check=True, timeout=120)
