"""How one process's serving ends when a part of it does not."""

import gc
from asyncio import Event
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket
from typing import cast

import pytest

from landline.app.application import Application, DevInfo, Place
from landline.app.config import Config
from landline.app.served_certificates import Served
from landline.app.serving import Serving, Sockets
from landline.edge.server import App
from landline.ports.clock import Clock
from landline.store.watched import watched


class Stubborn:
    """An application that can end in no way."""

    public_app = admin_app = cast(App, None)  # nothing is listened on

    async def start(self, customers: Sequence[socket], customers_tls: Sequence[socket], served: Served | None) -> None:
        pass

    async def failed(self) -> None:
        pass

    async def drain(self, patience_s: float) -> None:
        raise ValueError(f"not in {patience_s:g} s")

    async def close(self) -> None:
        raise ValueError("never")

    def dev_info(self) -> DevInfo | None:
        return None


@pytest.fixture
def collector() -> Generator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("collector")
async def test_the_log_names_each_part_that_does_not_close(capsys: pytest.CaptureFixture[str]) -> None:
    async def build(_config: Config, _dsn: str, _clock: Clock, _place: Place) -> Application:
        return Stubborn()

    async with AsyncExitStack() as stack:
        await Serving(stack, Config(mode="serve", data=Path()), build, Place()).start("", Sockets(), None)
    told = [line for line in capsys.readouterr().out.splitlines() if "server.close_failed" in line]
    assert [line.partition("part=")[2] for line in told] == ["Stubborn.drain", "Stubborn.close"]


class Broken(Stubborn):
    """One of whose parts has a bug."""

    async def start(self, customers: Sequence[socket], customers_tls: Sequence[socket], served: Served | None) -> None:
        self.task = watched(self.fail(), "part")

    async def fail(self) -> None:
        raise KeyError("a bug")

    async def failed(self) -> None:
        await Event().wait()

    async def drain(self, patience_s: float) -> None:
        pass

    async def close(self) -> None:
        pass


@pytest.mark.usefixtures("collector")
async def test_a_part_that_a_bug_ends_ends_the_process_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def build(_config: Config, _dsn: str, _clock: Clock, _place: Place) -> Application:
        return Broken()

    async with AsyncExitStack() as stack:
        serving = Serving(stack, Config(mode="serve", data=Path()), build, Place())
        await serving.start("", Sockets(), None)
        with pytest.raises(KeyError, match="a bug"):
            await serving.wait()
    assert "part failed" in caplog.text
