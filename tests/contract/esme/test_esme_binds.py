"""A customer is brought what waits by whichever bind takes it, of whichever process."""

from datetime import timedelta

from tests.support.cluster import eventually
from tests.support.esme import EsmeWorld, new_id
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, until

from landline.protocols.smpp import status

ALL = ["*"]


async def brought(client: Client, count: int) -> list[bytes]:
    """The next `count` texts, acknowledged, in the order of their names."""
    return sorted([(await client.arrival()).short_message for _ in range(count)])


async def test_what_one_bind_does_not_answer_comes_by_a_bind_to_another_process(world: EsmeWorld) -> None:
    first, second = await world.process(), await world.process()
    password = await world.account(first, texts=ALL)
    silent = await world.client(first, password)
    answers = await world.client(second, password)
    for name in ("1", "2", "3"):
        await world.text(first, name, OURS, PHONE)
    await until(lambda: len(silent.events) == 3)
    await world.clock.advance(timedelta(seconds=12))  # the response timer, and the first pause
    await world.clock.advance(timedelta(seconds=3))
    assert await brought(answers, 3) == [b"1", b"2", b"3"]


async def test_what_comes_while_one_bind_answers_nothing_comes_at_once_by_a_bind_to_another_process(
    world: EsmeWorld,
) -> None:
    first, second = await world.process(), await world.process()
    password = await world.account(first, texts=ALL)
    silent = await world.client(first, password)
    await world.text(first, "1", OURS, PHONE)
    await until(lambda: len(silent.events) == 1)
    answers = await world.client(second, password)
    await world.clock.advance(timedelta(seconds=11))  # the response timer
    await world.text(first, "2", OURS, PHONE)
    assert await brought(answers, 1) == [b"2"]
    await world.clock.advance(timedelta(seconds=3))
    assert await brought(answers, 1) == [b"1"]


async def test_who_took_nothing_and_binds_again_is_brought_at_once_what_comes(world: EsmeWorld) -> None:
    """As a customer's program that hung and was begun anew."""
    process = await world.process()
    password = await world.account(process, texts=ALL)
    silent = await world.client(process, password)
    await world.text(process, "1", OURS, PHONE)
    await until(lambda: len(silent.events) == 1)
    while await world.database.fetchval("SELECT attempts FROM sms_esme_out") < 6:
        await world.clock.advance(timedelta(seconds=5))
    silent.pump.abort()
    await until(lambda: not process.listener.bound())
    again = await world.client(process, password)
    await world.text(process, "2", OURS, PHONE)
    assert await brought(again, 1) == [b"2"]


async def attempts(world: EsmeWorld) -> int:
    """How often the first of what waits was put off."""
    return await world.database.fetchval("SELECT attempts FROM sms_esme_out ORDER BY out_id LIMIT 1")


async def in_nobodys_hands(world: EsmeWorld) -> None:
    async def free() -> bool:
        return not await world.database.fetchval("SELECT count(*) FROM sms_esme_out WHERE owner IS NOT NULL")

    await eventually(free)


async def test_what_is_refused_for_now_again_and_again_holds_up_nothing_else(world: EsmeWorld) -> None:
    """As by a program that fails over one receipt, and is brought few."""
    process = await world.process()
    client = await world.client(process, await world.account(process, texts=ALL))
    await world.text(process, "odd", OURS, PHONE)
    for tries in range(1, 6):
        assert (await client.arrival(status.ESME_RSYSERR)).short_message == b"odd"
        await in_nobodys_hands(world)
        assert await attempts(world) == tries
        await world.clock.advance(timedelta(seconds=2**tries + 1))
    assert (await client.arrival(status.ESME_RSYSERR)).short_message == b"odd"
    await in_nobodys_hands(world)
    await world.text(process, "even", OURS, PHONE)
    assert await brought(client, 1) == [b"even"]


async def test_what_is_never_answered_holds_up_nothing_else(world: EsmeWorld) -> None:
    """As by a program that passes over what it fails at."""
    process = await world.process()
    client = await world.client(process, await world.account(process, texts=ALL))
    await world.text(process, "odd", OURS, PHONE)
    while await attempts(world) < 7:
        await world.clock.advance(timedelta(seconds=5))
    await in_nobodys_hands(world)
    client.events.clear()
    await world.text(process, "even", OURS, PHONE)
    assert await brought(client, 1) == [b"even"]


async def test_what_the_customers_program_ends_at_does_not_keep_the_others_from_it(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process, texts=ALL)
    for name in ("1 odd", "2", "3"):
        await world.text(process, name, OURS, PHONE)
    for tries in range(3):
        client = await world.client(process, password)
        assert (await client.unanswered()).startswith(b"1 odd")
        client.pump.abort()
        await until(lambda: not process.listener.bound())
        await in_nobodys_hands(world)
        again = await world.client(process, password)
        if not tries:
            assert await brought(again, 2) == [b"2", b"3"]
        assert await attempts(world) == tries + 1
        again.unbind()
        await until(lambda: not process.listener.bound())
        await world.clock.advance(timedelta(seconds=2 ** (tries + 1)))


async def test_what_a_customer_leaves_by_an_unbind_comes_at_once_by_its_next_bind(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process, texts=ALL)
    await world.text(process, "hello", OURS, PHONE)
    client = await world.client(process, password)
    assert await client.unanswered() == b"hello"
    client.unbind()
    await until(lambda: not process.listener.bound())
    await in_nobodys_hands(world)
    assert await attempts(world) == 0
    assert await brought(await world.client(process, password), 1) == [b"hello"]


async def test_what_a_customer_leaves_that_closes_when_we_unbind_comes_at_once_by_another_process(
    world: EsmeWorld,
) -> None:
    first, second = await world.process(), await world.process()
    password = await world.account(first, texts=ALL)
    await world.text(first, "hello", OURS, PHONE)
    client = await world.client(first, password)
    assert await client.unanswered() == b"hello"
    client.pump._on_events = lambda _: client.pump.abort()  # at our unbind
    await first.close()
    assert client.closed
    assert await attempts(world) == 0
    assert await brought(await world.client(second, password), 1) == [b"hello"]


async def test_who_binds_elsewhere_just_before_a_commit_is_brought_what_it_wrote(world: EsmeWorld) -> None:
    first, second = await world.process(), await world.process()
    password = await world.account(first, texts=ALL)
    before = await world.client(first, password)
    async with world.database.transaction() as connection:
        woken = await first.out.arrived(
            connection,
            resource=world.resource,
            message_id=new_id(world.clock),
            sender=PHONE,
            recipient=OURS,
            text="hello",
        )
        before.pump.abort()
        await until(lambda: not first.listener.bound())
        after = await world.client(second, password)
        await world.clock.advance(timedelta(seconds=1))  # it has looked for what waits
    first.out.committed(woken)
    assert await brought(after, 1) == [b"hello"]
