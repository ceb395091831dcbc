"""SMPP customers take back what waits for its time or for its next try, by its id or by its addresses."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.support.esme import EsmeWorld
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE

from landline.ports.sms_carrier import Submitted
from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import Command, MessageState
from landline.protocols.smpp.events import Answered
from landline.services.sms import records_progress as records
from landline.services.sms.model.messages import State

TOMORROW = "000001000000000R"
CANNOT = 0x11


async def cancel(client: Client, message_id: str = "", *, sender: str = "", recipient: str = "") -> int:
    named = pdu.CancelSm("", message_id, 1 if sender else 0, 0, sender, 1 if recipient else 0, 0, recipient)
    client.session.request(Command.CANCEL_SM, named, None, 0.0)
    client.pump.flush()
    return await client.status()


async def state(client: Client, message_id: str) -> int:
    client.session.request(Command.QUERY_SM, pdu.QuerySm(message_id), None, 0.0)
    client.pump.flush()
    answer = await client.next()
    assert isinstance(answer, Answered)
    assert isinstance(answer.body, pdu.QueryAnswer)
    return answer.body.message_state


async def test_what_waits_for_its_time_is_taken_back_and_reported_as_deleted(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(schedule_delivery_time=TOMORROW, registered_delivery=1)
    told = await client.accepted()
    assert await state(client, told) == MessageState.ENROUTE
    assert await cancel(client, told, sender=OURS[1:], recipient=PHONE[1:]) == 0
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state, receipt.error) == (told, MessageState.DELETED, "500")
    assert await state(client, told) == MessageState.DELETED
    assert await cancel(client, told) == CANNOT
    (message,) = await world.messages()
    assert (message["state"], message["code"], message["due_at"]) == (State.FAILED, 5000, None)


async def test_what_waits_in_the_queue_of_its_carrier_is_taken_back(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(registered_delivery=1)
    told = await client.accepted()
    assert await cancel(client, told) == 0
    assert (await client.receipt()).state == MessageState.DELETED


async def test_what_waits_for_its_next_try_is_taken_back(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    client = await world.client(process, password)
    client.submit(registered_delivery=2)
    told = await client.accepted()
    other = await world.client(await world.process(), password)
    assert await cancel(other, told) == CANNOT  # it is with the process that hands it over
    (message,) = await world.messages()
    now = world.clock.now()
    await world.database.execute(
        "UPDATE sms_messages SET due_at = $1, attempts = 1 WHERE message_id = $2",
        now + timedelta(minutes=1),
        message["message_id"],
    )
    await world.database.execute(
        "INSERT INTO sms_attempts (resource_id, message_id, at, carrier, code, temporary, reason)"
        " VALUES ($1, $2, $3, 'simulated', 5001, true, 'later')",
        world.resource,
        message["message_id"],
        now,  # time is driven: it may stand still between two tries
    )
    assert await cancel(client, told) == 0
    assert (await client.receipt()).state == MessageState.DELETED


async def test_all_that_waits_from_a_sender_to_a_recipient_is_taken_back(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    other = await world.client(process, await world.account(process, "other"), "other")
    asked: list[tuple[Client, dict[str, Any]]] = [
        (client, {}),
        (client, {}),
        (client, {"destination_addr": "14255550177"}),
        (client, {"source_addr": "14255550100"}),
        (other, {}),
    ]
    for who, fields in asked:
        who.submit(schedule_delivery_time=TOMORROW, **fields)
        await who.accepted()
    assert await cancel(client, sender=OURS[1:], recipient=PHONE[1:]) == 0
    assert [row["state"] == State.FAILED for row in await world.messages()] == [True, True, False, False, False]
    assert await cancel(client, sender=OURS[1:], recipient=PHONE[1:]) == CANNOT


async def test_all_that_waits_in_queues_from_a_sender_to_a_recipient_is_taken_back(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    other = await world.client(process, await world.account(process, "other"), "other")
    asked: list[tuple[Client, dict[str, Any]]] = [
        (client, {}),
        (client, {"schedule_delivery_time": TOMORROW}),
        (client, {}),
        (client, {"destination_addr": "14255550177"}),
        (client, {"source_addr": "14255550100"}),
        (other, {}),
        (client, {}),
    ]
    for who, fields in asked:
        who.submit(**fields)
        await who.accepted()
    taken = (await world.messages())[-1]
    answer = (Submitted(taken["message_id"], "theirs"), taken["resource_id"], taken["block_id"])
    async with world.database.connection() as connection:
        await records.submitted(connection, "simulated", [answer], world.clock.now())
    assert await cancel(client, sender=OURS[1:], recipient=PHONE[1:]) == 0
    ended = [row["state"] == State.FAILED for row in await world.messages()]
    assert ended == [True, True, True, False, False, False, False]
    assert process.gateway.handover.count == 4


async def test_what_waits_in_nobodys_hands_is_taken_back_by_its_addresses(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    for _ in range(2):
        client.submit()
        await client.accepted()
    blocks = {row["block_id"] for row in await world.messages()}
    process.gateway.handover.lose(blocks)
    released = "UPDATE sms_blocks SET owner = NULL, due_at = $1 WHERE block_id = ANY($2)"
    await world.database.execute(released, world.clock.now(), list(blocks))
    assert await cancel(client, sender=OURS[1:], recipient=PHONE[1:]) == 0
    assert [row["state"] for row in await world.messages()] == [State.FAILED] * 2


async def test_a_long_text_is_taken_back_by_the_id_of_any_part(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    told: list[str] = []
    for number in (1, 2):
        header = bytes((5, 0, 3, 7, 2, number))
        client.submit(header + b"x" * 100, esm_class=0x40, schedule_delivery_time=TOMORROW, registered_delivery=1)
        told.append(await client.accepted())
    assert await cancel(client, told[1]) == 0
    receipts = [await client.receipt() for _ in told]
    assert {(receipt.message_id, receipt.state) for receipt in receipts} == {
        (each, MessageState.DELETED) for each in told
    }


@pytest.mark.parametrize("named", ["another's", "nobody's", "sender", "recipient"])
async def test_what_cannot_be_taken_back_is_refused_and_stays(world: EsmeWorld, named: str) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(schedule_delivery_time=TOMORROW)
    told = await client.accepted()
    if named == "another's":
        other = await world.client(process, await world.account(process, "other"), "other")
        assert await cancel(other, told) == CANNOT
    elif named == "nobody's":
        assert await cancel(client, uuid4().hex) == CANNOT
    else:
        assert await cancel(client, told, **{named: "14255550177"}) == CANNOT
    assert [row["state"] for row in await world.messages()] == [State.QUEUED]
