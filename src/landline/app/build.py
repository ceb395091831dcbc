"""Joins all parts by plain constructor arguments; the only place that knows every one of them."""

from landline.app.application import Application, DevInfo
from landline.app.config import Config
from landline.edge.server import AsgiApp
from landline.ports.clock import Clock
from landline.store.database import Database
from landline.store.migrations import migrate


async def build(config: Config, dsn: str, clock: Clock) -> Application:
    """The application for a settled configuration. Raises `Refusal`, `Unavailable`."""
    database = await Database.connect(dsn, size=config.database_connections)
    await migrate(database)
    return _Joined(config, database)


class _Joined:
    def __init__(self, config: Config, database: Database) -> None:
        self._config = config
        self._database = database
        self.public_app: AsgiApp = _answer
        self.admin_app: AsgiApp = _answer

    async def start(self) -> None:
        await self._database.fetchval("SELECT 1")

    async def close(self) -> None:
        await self._database.close()

    def dev_info(self) -> DevInfo | None:
        if self._config.mode == "serve":
            return None
        return DevInfo(f"endpoint=https://localhost:{self._config.port};accesskey=bm90aGluZw==", "+18005550100")


async def _answer(scope, receive, send) -> None:  # pyright: ignore
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})
