"""What PATCH does with what is absent, named and null (RFC 7396, acs-wire.md 3)."""

from collections.abc import AsyncGenerator

import pytest
from tests.support.feed import Node, node

from landline.engines.clock import DrivenClock
from landline.store.database import Database


@pytest.fixture
async def one(database: Database, dsn: str, clock: DrivenClock) -> AsyncGenerator[Node]:
    async with node(database, dsn, clock) as running:
        yield running


CASES = [
    ({}, {"a": "1", "b": "2"}),
    ({"metadata": {"b": "3", "c": "4"}}, {"a": "1", "b": "3", "c": "4"}),
    ({"metadata": {"a": None}}, {"b": "2"}),
    ({"metadata": {"a": "", "c": ""}}, {"b": "2"}),  # the .NET SDK's live tests
    ({"metadata": {}}, {"a": "1", "b": "2"}),
    ({"metadata": None}, None),
]


@pytest.mark.parametrize(("patch", "expected"), CASES)
async def test_a_messages_metadata_is_merged(
    one: Node, patch: dict[str, object], expected: dict[str, str] | None
) -> None:
    ann = await one.user()
    messages = f"/chat/threads/{await one.thread(ann)}/messages"
    sent = await one.call(ann, "POST", messages, {"content": "hi", "metadata": {"a": "1", "b": "2"}})
    await one.call(ann, "PATCH", f"{messages}/{sent['id']}", {"content": "hello", **patch})
    found = await one.call(ann, "GET", f"{messages}/{sent['id']}")
    assert (found["content"]["message"], found.get("metadata")) == ("hello", expected)


@pytest.mark.parametrize(("patch", "expected"), CASES)
async def test_a_threads_metadata_is_merged(
    one: Node, patch: dict[str, object], expected: dict[str, str] | None
) -> None:
    ann = await one.user()
    thread = f"/chat/threads/{await one.thread(ann)}"
    await one.call(ann, "PATCH", thread, {"metadata": {"a": "1", "b": "2"}})
    await one.call(ann, "PATCH", thread, {"topic": "Dinner", **patch})
    found = await one.call(ann, "GET", thread)
    assert (found["topic"], found.get("metadata")) == ("Dinner", expected)


async def test_a_thread_that_was_given_no_retention_policy_says_so(one: Node) -> None:
    ann = await one.user()
    thread = f"/chat/threads/{await one.thread(ann)}"
    assert (await one.call(ann, "GET", thread))["retentionPolicy"] == {"kind": "none"}  # the .NET SDK's live tests
    month = {"kind": "threadCreationDate", "deleteThreadAfterDays": 30}
    await one.call(ann, "PATCH", thread, {"retentionPolicy": month})
    assert (await one.call(ann, "GET", thread))["retentionPolicy"] == month
    await one.call(ann, "PATCH", thread, {"retentionPolicy": None})
    assert (await one.call(ann, "GET", thread))["retentionPolicy"] == {"kind": "none"}
