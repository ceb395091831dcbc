"""What every kind of test shares: a PostgreSQL server for the session, and fresh databases on it."""

import gc
import os
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import settings
from tests.support.memory import in_memory

from landline.store.database import Database
from landline.store.embedded import EmbeddedServer
from landline.store.migrations import migrate

# How long an example takes says something about the machine and its other work, not about the code. What is drawn anew
# each time finds defects, and is `make sim`'s: whoever runs `make test` twice is to be told the same twice.
settings.register_profile("settled", deadline=None, derandomize=True)
settings.register_profile("drawn", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("LANDLINE_EXAMPLES", "settled"))


NEEDS = {
    "contract/relay/test_coturn.py": ("turnserver",),
    "e2e/test_relay.py": ("turnserver", "chromium"),
    "contract/sdk/test_js_chromium.py": ("chromium", "npm"),
    "e2e/test_sample_chat.py": ("chromium", "npm"),
}
"""Programs that tools/apt-packages installs for `make test`, and the tests that run them."""
LEFT_OUT = {
    module: [program for program in programs if shutil.which(program) is None] for module, programs in NEEDS.items()
}
SCREENSHOTS = Path(__file__).parents[1] / "build" / "screenshots"
"""What browsers showed in tests of this run, kept to be looked at."""
STARTED = time.time()
collect_ignore = [module for module, missing in LEFT_OUT.items() if missing]

gc.disable()  # until all tests are collected: what is made till then stays


def pytest_collection_finish() -> None:
    """What thousands of tests and their modules consist of is not looked through again each time garbage is sought."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what did not run, and why, and where pictures of what did are."""
    for module in collect_ignore:
        terminalreporter.line(f"LEFT OUT: tests/{module}: there is no {' and no '.join(LEFT_OUT[module])}")
    for file in sorted(SCREENSHOTS.glob("*.png")):
        if file.stat().st_mtime >= STARTED:
            terminalreporter.line(f"SCREENSHOT: {file}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_dsn(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[str]:
    """A PostgreSQL server the tests may create databases on: LANDLINE_TEST_DSN, or an embedded one for the session."""
    given = os.environ.get("LANDLINE_TEST_DSN")
    if given:
        yield given
        return
    with in_memory(otherwise=tmp_path_factory.mktemp("postgresql")) as directory:
        # What a crash of this machine would do to a test's database does not matter.
        server = EmbeddedServer(directory, settings={"fsync": "off"})
        yield await server.start()
        await server.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated(server_dsn: str) -> AsyncGenerator[str]:
    """The name of a migrated database to copy, which takes a fraction of what migrating each would."""
    name = _new_name()
    admin = await asyncpg.connect(server_dsn)
    await admin.execute(f"CREATE DATABASE {name}")
    database = await Database.connect(_on(server_dsn, name), size=4)
    await migrate(database)
    await database.close()
    yield name
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def dsn(server_dsn: str, migrated: str, request: pytest.FixtureRequest) -> AsyncGenerator[str]:
    """The DSN of a fresh database, dropped after the test. It is empty, unless the test asks for `database` as well."""
    name = _new_name()
    template = migrated if "database" in request.fixturenames else "template1"
    admin = await asyncpg.connect(server_dsn)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")  # half as much is written
    try:
        yield _on(server_dsn, name)
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


@pytest.fixture
async def database(dsn: str) -> AsyncGenerator[Database]:
    """A fresh migrated database."""
    database = await Database.connect(dsn, size=4)
    yield database
    await database.close()


def _new_name() -> str:
    return f"test_{uuid4().hex}"


def _on(server_dsn: str, name: str) -> str:
    return urlsplit(server_dsn)._replace(path=f"/{name}").geturl()
