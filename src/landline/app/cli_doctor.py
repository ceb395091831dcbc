"""The command `doctor`: what is in the way of a server here, before it is started or while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from landline.app.admin_client import AdminClient
    from landline.app.config import Config, Mode
    from landline.store.database import Database


NOTE = "note"
"""The check of what a server may start with, and its operator should know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `detail` says what is well, or what to do."""

    check: str
    ok: bool
    detail: str


def add_to(app: App) -> None:
    """Add this command."""
    app.command(doctor)


def doctor(
    *,
    config: Path | None = None,
    data: Path | None = None,
    port: int | None = None,
    mode: Literal["dev", "serve", "worker"] | None = None,
    json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Look for what would keep a server from running here, and for what a running one complains of, carriers that are
    down among it. Ends with status 1 when there is something.

    Parameters
    ----------
    config
        TOML file of settings; with it the checks are those of `serve`.
    data
        Directory of everything kept.
    port
        HTTPS port of the API.
    mode
        Which command's settings to check.
    json
        Print the checks as JSON.
    """
    findings = check(mode or ("serve" if config else "dev"), config, data, port)
    if json:
        import json as jsonlib

        print(jsonlib.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(_line(finding))
    return 0 if all(finding.ok for finding in findings) else 1


def _line(finding: Finding) -> str:
    if finding.check == NOTE:
        return f"note {finding.detail}"
    return f"{'ok  ' if finding.ok else 'BAD '} {finding.check}: {finding.detail}"


def check(mode: Mode, file: Path | None, data: Path | None, port: int | None) -> list[Finding]:
    """All checks, the later ones left out when the configuration cannot be read."""
    from landline.app.config import CannotConfigure, load

    try:
        config = load(mode, file=file, flags={"data": str(data) if data else None, "port": port})
    except CannotConfigure as error:
        return [_python(), Finding("configuration", ok=False, detail=error.message)]
    running = _running(config)
    findings = [_python(), Finding("configuration", ok=True, detail=str(file) if file else "defaults"), _data(config)]
    findings += _ports(config) if running is None else running
    findings += _settings(config)
    findings += _database(config) if config.dsn else [_programs(config), *_proof(config)]
    return findings


def _python() -> Finding:
    import platform
    import sys

    return Finding("Python", ok=True, detail=f"{platform.python_version()} at {sys.executable}")


def _data(config: Config) -> Finding:
    import os

    place = config.data
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        return Finding("data directory", ok=False, detail=f"{place} cannot be written: choose another with --data")
    return Finding("data directory", ok=True, detail=str(config.data) + ("" if place == config.data else " (new)"))


def _running(config: Config) -> list[Finding] | None:
    from landline.app import ready
    from landline.app.admin_client import AdminClient, CannotAsk
    from landline.store.embedded.lock import is_held

    found = ready.of(config.data)
    if found is None:
        return None
    client = AdminClient(found.admin_url, found.admin_token)
    try:
        health = client.health()
    except CannotAsk as error:
        if not is_held(config.data):
            return None  # it was killed, or its machine was: the next one starts where it ended
        return [Finding("server", ok=False, detail=f"one runs here and is not well: {error.message}")]
    well = Finding("server", ok=True, detail=f"runs at {found.url}, admin API at {found.admin_url}")
    return [well, *_ailments(health), *_carriers(client)]


def _ailments(health: dict[str, Any]) -> list[Finding]:
    """What `/healthz` complains of, which is of all processes that the server consists of."""
    ill = {part: told for part, told in health["checks"].items() if told != "ok"}
    silent = [each for each in health.get("workers", []) if "checks" not in each]
    if silent:
        ill["processes"] = f"{len(silent)} of {len(health['workers'])} do not answer"
    return [Finding(f"server's {part}", ok=False, detail=told) for part, told in ill.items()]


def _carriers(client: AdminClient) -> list[Finding]:
    from landline.app.admin_client import CannotAsk

    try:
        shown = client.get("sms", "carriers")["value"]
        removed = [_removed(each) for each in shown if each["kind"] == "removed"]
        return [*(_carrier(each) for each in shown if each["kind"] == "smpp"), *removed]
    except CannotAsk as error:
        return [Finding("carriers", ok=False, detail=error.message)]


def _carrier(carrier: dict[str, Any]) -> Finding:
    """`carrier` as the admin API has it. Its binds may be those of another process."""
    name = f"carrier {carrier['name']}"
    if carrier["up"] or any(each["up"] for each in carrier["processes"]):
        return Finding(name, ok=True, detail="up")
    troubles = sorted({link["trouble"] for link in carrier["links"] if "trouble" in link})
    reason = "; ".join(troubles) or "no bind is up yet"
    return Finding(name, ok=False, detail=f"{carrier['address']} as {carrier['systemId']}: {reason}")


def _removed(carrier: dict[str, Any]) -> Finding:
    detail = (
        f"no server has it in its configuration any more, and {carrier['waiting']} messages wait for it:"
        " give them another carrier by a route, or put it back until they are through"
    )
    return Finding(f"carrier {carrier['name']}", ok=False, detail=detail)


def _ports(config: Config) -> list[Finding]:
    """All are bound before one is closed: two of its own may be the same."""
    from contextlib import ExitStack

    from landline.edge.server import CannotListen, bind

    findings: list[Finding] = []
    with ExitStack() as bound:
        for name, host, port in _listens(config):
            try:
                for each in bind(host, port):
                    bound.enter_context(each)
                findings.append(Finding(name, ok=True, detail=f"{port} on {host} is free"))
            except CannotListen as error:
                findings.append(Finding(name, ok=False, detail=error.message))
    return findings


def _listens(config: Config) -> list[tuple[str, str, int]]:
    """Where it would listen: (what for, host, port)."""
    if config.mode == "worker":
        return [] if config.admin_port is None else [("admin port", config.admin_host, config.admin_port)]
    admin = config.admin_port if config.admin_port is not None else (config.port + 1000) % 65536
    optional = [
        ("plain HTTP port", config.host, config.plain_http_port),
        ("SMPP port", config.smpp_listen_host, config.smpp_listen_port),
        ("SMPP port with TLS", config.smpp_listen_host, config.smpp_listen_tls_port),
    ]
    return [
        ("API port", config.host, config.port),
        ("admin port", config.admin_host, admin),
        *((name, host, port) for name, host, port in optional if port is not None),
    ]


def _settings(config: Config) -> list[Finding]:
    from datetime import UTC, datetime

    from landline.app import carriers, production

    now = datetime.now(UTC)
    wrong = carriers.problems(config) if config.mode == "dev" else production.problems(config, now)
    if wrong:
        return [Finding(f"settings of {config.mode}", ok=False, detail=problem) for problem in wrong]
    return [*_certificates(config, now), *_warnings(config)]


def _warnings(config: Config) -> list[Finding]:
    from landline.app import carriers, production

    found = production.warnings(config) if config.mode == "serve" else carriers.warnings(config)
    return [Finding(NOTE, ok=True, detail=warning) for warning in found]


def _certificates(config: Config, now: datetime) -> list[Finding]:
    from landline.app import certificates

    found: list[Finding] = []
    if config.mode != "worker":
        certificate = config.certificate or config.data / "certificates" / "certificate.pem"
        if not certificate.exists():
            found.append(Finding("certificate", ok=True, detail="made at the first start"))
        else:
            found.append(_certificate("certificate", certificate, now, renewed=config.certificate is None))
    for use, file in certificates.shown_to_others(config).items():
        found.append(_certificate(f"certificate for {use}", file, now))
    return found


def _certificate(name: str, file: Path, now: datetime, *, renewed: bool = False) -> Finding:
    """`renewed`: Landline does it itself."""
    from landline.app import certificates

    try:
        life = certificates.life(file)
    except (OSError, ValueError):
        return Finding(name, ok=False, detail=f"{file} holds no certificate in PEM")
    if life.ends <= now and not renewed:
        return Finding(name, ok=False, detail=f"{file} ended on {life.ends:%Y-%m-%d}: renew it")
    near = life.to_be_renewed_at <= now and not renewed
    return Finding(
        name, ok=True, detail=f"{(life.ends - now).days} days left" + (f": renew {file} now" if near else "")
    )


def _programs(config: Config) -> Finding:
    from landline.core.errors import Refusal
    from landline.store.embedded import account, binaries, cluster

    data = config.data / "postgresql" / "data"
    try:
        found = binaries.find(config.postgres_binaries)
        chosen = cluster.matching(data, found)
        who = account.choose(data)
    except (Refusal, OSError) as error:
        return Finding("PostgreSQL", ok=False, detail=str(error))
    run_as = f", run as user {who.uid}" if who.switch else ""
    return Finding("PostgreSQL", ok=True, detail=f"{chosen.major} from {chosen.directory}{run_as}")


def _proof(config: Config) -> list[Finding]:
    """Where the embedded database was served with another sealing secret. Whether there is one is looked at by
    others."""
    from landline.app import secrets
    from landline.app.config import CannotConfigure
    from landline.store.sealing import WrongSeal

    try:
        secrets.proven(config)
    except WrongSeal as error:
        return [Finding("sealing secret", ok=False, detail=error.message)]
    except (OSError, CannotConfigure):
        return []
    return []


def _database(config: Config) -> list[Finding]:
    import asyncio

    from landline.core.errors import Refusal, Unavailable

    try:
        return asyncio.run(_looked_into(config))
    except (Refusal, Unavailable) as error:
        return [Finding("database", ok=False, detail=error.message)]


async def _looked_into(config: Config) -> list[Finding]:
    from landline.store.database import Database

    assert config.dsn is not None
    database = await Database.connect(config.dsn, size=2)
    try:
        await database.check()
        waiting = await _pending(database)
        if waiting:
            detail = f"reached; {waiting} migrations wait for the next start"
            return [Finding("database", ok=True, detail=detail)]
        well = Finding("database", ok=True, detail="reached; its schema is this version's")
        return [well, *await _sealing(config, database), *await _hearing(config, database), *await _kept(database)]
    finally:
        await database.close()


async def _pending(database: Database) -> int:
    from landline.store.migrations import pending

    async with database.connection() as connection:
        return len(await pending(connection))


async def _sealing(config: Config, database: Database) -> list[Finding]:
    """Where the keys in the database do not open with the configured sealing secret. Whether it is one is looked at by
    others."""
    from landline.app.config import CannotConfigure
    from landline.app.secrets import LEAST_SECRET_BYTES, sealing_secret
    from landline.services.resources import records
    from landline.store.sealing import Sealer, WrongSeal

    try:
        secret = sealing_secret(config)
    except CannotConfigure:
        return []
    if secret is None or len(secret.encode()) < LEAST_SECRET_BYTES:
        return []
    async with database.connection() as connection:
        local = await records.by_name(connection, "local")
        keys = [] if local is None else await records.keys_of(connection, local.resource_id)
    try:
        for key in keys:
            Sealer(secret.encode()).open(key.sealed, key.purpose)
    except WrongSeal as error:
        return [Finding("sealing secret", ok=False, detail=error.message)]
    return []


async def _hearing(config: Config, database: Database) -> list[Finding]:
    """A note where servers on the database, or one of `config` here and those of other machines, hear nothing of one
    another."""
    import socket
    from datetime import UTC, datetime

    from landline.app import bus
    from landline.app.processes_admin import unheard
    from landline.store.processes import listed

    servers = [each for each in await listed(database, datetime.now(UTC)) if each.live and each.circle]
    if config.nats_urls:
        apart = [each for each in servers if each.circle != bus.circle(config)]
    else:
        away = [each for each in servers if each.host != socket.gethostname()]
        apart = away or [each for each in servers if each.circle != servers[0].circle]
    return [Finding(NOTE, ok=True, detail=unheard(apart))] if apart else []


_KEPT = """
SELECT relname AS name, n_dead_tup AS dead, n_live_tup AS live FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND n_dead_tup > $1 AND n_dead_tup > $2 * n_live_tup
ORDER BY n_dead_tup DESC LIMIT 1
"""
_MANY_DEAD = 100_000
_TIMES_THE_LIVING = 5


async def _kept(database: Database) -> list[Finding]:
    """A note where far more rows are dead than autovacuum leaves. Whose transaction keeps them only some roles may see,
    how many they are all."""
    async with database.connection() as connection:
        worst = await connection.fetchrow(_KEPT, _MANY_DEAD, _TIMES_THE_LIVING)
    if worst is None:
        return []
    detail = (
        f"PostgreSQL keeps {worst['dead']:,} dead rows of the table {worst['name']} beside {worst['live']:,} living"
        " ones, which takes room and time: let autovacuum run, and end what holds it up (the oldest xact_start in"
        " pg_stat_activity, pg_prepared_xacts, the xmin of pg_replication_slots)"
    )
    return [Finding(NOTE, ok=True, detail=detail)]
