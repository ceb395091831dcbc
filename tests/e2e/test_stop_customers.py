"""What SMPP customers hear of a server that ends."""

import asyncio
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import asyncpg
from tests.support.cluster import eventually
from tests.support.raw_esme import RawEsme

from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import RESPONSE, Command
from landline.protocols.smpp.pdu import ShortMessage
from landline.testing import Server


async def test_what_a_customer_submitted_is_answered_though_its_commit_takes_long(
    landline_server: Callable[..., Server], dsn: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "landline.toml"
    config.write_text(f'dsn = "{dsn}"\nsmpp_listen_port = {port}\n')
    server = await asyncio.to_thread(landline_server, arguments=["--config", str(config)])
    account = server.admin.call("POST", "/resources/local/smpp-accounts", {"systemId": "shop"})
    idle, busy = RawEsme(), RawEsme()
    for customer in (idle, busy):
        await customer.connect(port)
        assert (await customer.bind(system_id="shop", password=account["password"])).status == status.ESME_ROK
    database = await asyncpg.connect(dsn)
    slow = database.transaction()
    await slow.start()
    await database.execute("LOCK TABLE sms_messages IN EXCLUSIVE MODE")
    text = ShortMessage(
        source_addr_ton=1,
        source_addr=server.phone_number[1:],
        dest_addr_ton=1,
        destination_addr="14255550199",
        short_message=b"hello",
    )
    await busy.say(pdu.encode(Command.SUBMIT_SM, text, 2))

    async def it_waits() -> bool:
        locks = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sms_messages'::regclass"
        return bool(await database.fetchval(locks))

    await eventually(it_waits)
    ending = asyncio.create_task(asyncio.to_thread(server.stop, with_signal=signal.SIGTERM, timeout=10.0))
    assert (await idle.next()).command == Command.UNBIND  # which it does not answer
    await database.execute("SELECT pg_sleep(1)")  # how long the commit takes
    await slow.commit()
    assert (await busy.next())[:3] == (Command.SUBMIT_SM | RESPONSE, status.ESME_ROK, 2)
    assert (await busy.next()).command == Command.UNBIND
    await ending
    assert await database.fetchval("SELECT count(*) FROM sms_messages") == 1
    await database.close()
    for customer in (idle, busy):
        customer.close()
