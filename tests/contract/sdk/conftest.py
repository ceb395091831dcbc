"""One running `landline dev` for the SDK contract, the official clients in both styles, and raw access beside them."""

import inspect
from collections.abc import AsyncGenerator, Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import azure.communication.identity as identity_sync
import azure.communication.identity.aio as identity_async
import azure.communication.phonenumbers as numbers_sync
import azure.communication.phonenumbers.aio as numbers_async
import azure.communication.sms as sms_sync
import azure.communication.sms.aio as sms_async
import pytest
from azure.core.credentials import AzureKeyCredential
from tests.support.npm import installed
from tests.support.signed import Raw

from landline.testing import Server

HERE = Path(__file__).parent / "js"
_numbers = count(Random().randrange(10_000) * 100)


async def result(value: Any) -> Any:
    """What an SDK call gives, whether the client is sync or async: the tests are written once for both."""
    return await value if inspect.isawaitable(value) else value


class Style:
    """The official Python clients in one of their two styles."""

    def __init__(self, name: str) -> None:
        asynchronous = name == "async"
        identity: Any = identity_async if asynchronous else identity_sync
        sms: Any = sms_async if asynchronous else sms_sync
        self.name = name
        self.identity_client = identity.CommunicationIdentityClient
        self.sms_client = sms.SmsClient
        numbers: Any = numbers_async if asynchronous else numbers_sync
        self.numbers_client = numbers.PhoneNumbersClient


@pytest.fixture(params=["sync", "async"])
def style(request: pytest.FixtureRequest) -> Style:
    """Runs the test once with the sync clients and once with the async ones."""
    return Style(request.param)


@pytest.fixture(params=["connection string", "key", "key, trailing slash"])
def given(request: pytest.FixtureRequest, landline: Server) -> Callable[[Any], Any]:
    """The ways an application is given the resource: makes a client of any class from each."""
    endpoint = landline.endpoint.rstrip("/")
    if request.param == "connection string":
        return lambda client_class: client_class.from_connection_string(landline.connection_string)
    if request.param == "key, trailing slash":
        endpoint += "/"
    return lambda client_class: client_class(endpoint, AzureKeyCredential(landline.access_key))


@pytest.fixture
async def identity(style: Style, landline: Server) -> AsyncGenerator[Any]:
    """An identity client."""
    client = style.identity_client.from_connection_string(landline.connection_string)
    yield client
    await closed(client)


@pytest.fixture
async def sms(style: Style, landline: Server) -> AsyncGenerator[Any]:
    """An SMS client."""
    client = style.sms_client.from_connection_string(landline.connection_string)
    yield client
    await closed(client)


@pytest.fixture
async def numbers(style: Style, landline: Server) -> AsyncGenerator[Any]:
    """A phone numbers client."""
    client = style.numbers_client.from_connection_string(landline.connection_string)
    yield client
    await closed(client)


async def listed(pages: Any) -> list[Any]:
    """All that an SDK's pager gives, in either style."""
    return [each async for each in pages] if hasattr(pages, "__aiter__") else list(pages)


async def closed(client: Any) -> None:
    """Close a client of either style; some sync ones have only the context manager for it."""
    if hasattr(client, "close"):
        await result(client.close())
        return
    for value in vars(client).values():
        if hasattr(value, "close"):
            await result(value.close())


@pytest.fixture
def raw(landline: Server) -> Raw:
    """Signed requests to the session's server."""
    return Raw(landline.endpoint, landline.access_key, landline.ca_bundle)


@pytest.fixture
def fresh_number() -> Callable[[], str]:
    """Numbers that no other test of this run uses."""
    return lambda: f"+1425{2_000_000 + next(_numbers) % 8_000_000:07d}"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of js/package-lock.json."""
    return installed(HERE)
