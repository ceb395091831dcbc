"""The commands that run a server, or prepare its database: `dev`, `serve`, `worker`, `migrate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

if TYPE_CHECKING:
    from landline.app.config import Config, Mode
    from landline.app.ready import Ready


def add_to(app: App) -> None:
    """Add these commands."""
    app.command(dev)
    app.command(serve)
    app.command(worker)
    app.command(migrate)


def dev(
    *,
    data: Path | None = None,
    port: int | None = None,
    admin_port: int | None = None,
    plain_http_port: int | None = None,
    ready_file: Path | None = None,
    seed: int | None = None,
    workers: int | None = None,
    relay: bool | None = None,
    config: Path | None = None,
) -> None:
    """Run a server for development and tests: its own certificates, virtual numbers, handsets, time that can be driven.

    Parameters
    ----------
    data
        Directory of everything kept; another one is another server.
    port
        HTTPS port of the API; 0 takes any free one. Default 8443.
    admin_port
        HTTP port of the admin API. Default: port + 1000, or any free one.
    plain_http_port
        Port of the API without TLS, for clients that cannot have it. Default: none.
    ready_file
        JSON file to write once it serves, and to remove at its end.
    seed
        Makes the simulated carrier's choices the same in every run.
    workers
        How many processes share the work; more than one needs `driven_clock` off.
    relay
        Run a TURN relay as well; coturn must be installed.
    config
        TOML file of settings.
    """
    flags: dict[str, object] = {
        "data": _text(data),
        "port": port,
        "admin_port": admin_port,
        "plain_http_port": plain_http_port,
        "ready_file": _text(ready_file),
        "seed": seed,
        "workers": workers,
        "relay": relay,
    }
    _run("dev", config, flags)


def serve(
    *,
    config: Path | None = None,
    data: Path | None = None,
    ready_file: Path | None = None,
    workers: int | None = None,
) -> None:
    """Run a server for production: real certificates, a sealing secret of your own, nothing simulated.

    Parameters
    ----------
    config
        TOML file of settings; docs/reference/configuration.md lists them, docs/guides/production.md shows one.
    data
        Directory of everything kept.
    ready_file
        JSON file to write once it serves, and to remove at its end.
    workers
        How many processes share the work (docs/guides/cluster.md).
    """
    _run("serve", config, {"data": _text(data), "ready_file": _text(ready_file), "workers": workers})


def worker(
    *,
    config: Path | None = None,
    ready_file: Path | None = None,
    workers: int | None = None,
) -> None:
    """Share the work of a `landline serve`, here or on another machine, on the same database: no public port.

    Parameters
    ----------
    config
        TOML file of settings: the server's own, or one with the same dsn, sealing secret and carriers. With an
        admin_port it shows metrics and health there.
    ready_file
        JSON file to write once it works, and to remove at its end.
    workers
        How many processes share the work (docs/guides/cluster.md).
    """
    _run("worker", config, {"ready_file": _text(ready_file), "workers": workers})


def migrate(*, config: Path | None = None, dsn: str | None = None, data: Path | None = None) -> None:
    """Bring the database to this version's schema and print what was applied. A server does so itself when it starts.

    Parameters
    ----------
    config
        TOML file of settings.
    dsn
        The database, as postgresql://user:password@host/database.
    data
        Directory of an embedded database.
    """
    import asyncio

    from landline.app.config import load

    settings = load("serve", file=config, flags={"dsn": dsn, "data": _text(data)})
    applied = asyncio.run(_migrate(settings))
    print("\n".join(applied) if applied else "nothing to do: the database has this version's schema")


async def _migrate(config: Config) -> list[str]:
    from contextlib import AsyncExitStack

    from landline.store.database import Database
    from landline.store.embedded import EmbeddedServer
    from landline.store.migrations import migrate as apply

    async with AsyncExitStack() as stack:
        dsn = config.dsn
        if dsn is None:
            server = EmbeddedServer(config.data / "postgresql", choice=config.postgres_binaries)
            dsn = await server.start()
            stack.push_async_callback(server.close)
        database = await Database.connect(dsn, size=2)
        stack.push_async_callback(database.close)
        return await apply(database)


def _run(mode: Mode, file: Path | None, flags: dict[str, object]) -> None:
    from landline.app import logs, supervisor
    from landline.app.build import build
    from landline.app.config import load

    config = load(mode, file=file, flags=flags)
    if mode != "dev":
        _refuse_unready(config)
    logs.configure(config.log_level, config.log_format)
    _warn(config)
    supervisor.run(config, build, partial(_announce, config) if mode == "dev" else _announce_nothing)


def _refuse_unready(config: Config) -> None:
    from datetime import UTC, datetime

    from landline.app.production import problems
    from landline.core.errors import Refusal

    found = problems(config, datetime.now(UTC))
    if found:
        raise Refusal("cannot serve as configured:\n" + "\n".join(f"  - {problem}" for problem in found))


def _warn(config: Config) -> None:
    import structlog

    from landline.app import carriers, production

    for warning in production.warnings(config) if config.mode == "serve" else carriers.warnings(config):
        structlog.get_logger().warning("server.configured", warning=warning)


def _announce(config: Config, ready: Ready, seconds: float) -> None:
    """What the user of `dev` needs, to copy and paste."""
    from datetime import timedelta

    from rich.console import Console
    from rich.markup import escape

    from landline.app import driven_clock

    ahead = timedelta(seconds=round(driven_clock.kept(config.data).total_seconds())) if config.driven_clock else None
    lines = [
        f"[bold]Landline[/] serves since {seconds:.2f} s after its start. Ctrl-C ends it.",
        "",
        f"  API      {ready.url}",
        f"  Admin    {ready.admin_url}",
        *([f"  SMPP     {ready.smpp_address}"] if ready.smpp_address else []),
        *([f"  SMPP     {ready.smpp_tls_address} (TLS)"] if ready.smpp_tls_address else []),
        f"  Number   {ready.phone_number}",
        *([f"  Clock    {ahead} ahead, where it had been driven to"] if ahead else []),
        "",
        "[dim]# for your shell; `landline env` prints these again[/]",
        *map(escape, exports(ready)),  # a directory may be called `[b]`
        "",
    ]
    Console(soft_wrap=True, highlight=False).print("\n".join(lines))


def _announce_nothing(ready: Ready, seconds: float) -> None:
    """`serve` says so in its log."""


def exports(ready: Ready) -> list[str]:
    """Lines for a shell: where the SDKs find their connection string and whom they trust, and the admin API. Where this
    process has a proxy in its environment, also that it is not asked for any of them."""
    import os
    import shlex

    from landline.app.proxies import passed_by

    named = {
        "COMMUNICATION_SERVICES_CONNECTION_STRING": ready.connection_string,
        "REQUESTS_CA_BUNDLE": ready.ca_bundle,
        "SSL_CERT_FILE": ready.ca_bundle,
        "NODE_EXTRA_CA_CERTS": ready.ca_bundle,
        "LANDLINE_ADMIN_URL": ready.admin_url,
        "LANDLINE_ADMIN_TOKEN": ready.admin_token,
        **passed_by(os.environ),
    }
    return [f"export {name}={shlex.quote(value)}" for name, value in named.items() if value]


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None
