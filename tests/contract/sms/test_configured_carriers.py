"""A carrier of a configuration file binds to an SMSC and carries a text; one whose SMSC is away is there and down."""

import socket
from pathlib import Path
from uuid import uuid4

from tests.support.carrier_events import Recorder

from landline.app import carriers
from landline.app.config import load
from landline.engines.clock import SystemClock
from landline.ports.sms_carrier import Submission
from landline.store.database import Database
from landline.testing.smsc import Smsc


def table(name: str, port: int) -> str:
    return (
        f'[[carriers]]\nkind = "smpp"\nname = "{name}"\nhost = "127.0.0.1"\nport = {port}\nsystem_id = "landline"\n'
        'password_file = "password"\nbinds = 2\nbackoff_first_s = 0.01\n'
    )


async def test_carriers_of_a_file_bind_and_carry(tmp_path: Path, database: Database) -> None:
    smsc = Smsc({"landline": "secret"})
    await smsc.start()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections to it are refused
        (tmp_path / "password").write_text("secret\n")
        file = tmp_path / "landline.toml"
        file.write_text(table("north", smsc.port) + table("south", unused.getsockname()[1]))
        built = carriers.carriers(load("dev", file=file, environment={}), database, SystemClock(), line=SystemClock())
        assert list(built) == [carrier.name for carrier in built.values()] == ["north", "south"]
        events = Recorder()
        try:
            for carrier in built.values():
                await carrier.start(events)
            assert (built["north"].up, built["south"].up) == (True, False)
            await built["north"].submit([Submission(uuid4(), "+18005550100", "+14255550199", "hello", 1, True)])
            await events.until(lambda: len(events.receipts) == 1)
        finally:
            for carrier in built.values():
                await carrier.close()
            await smsc.close()
