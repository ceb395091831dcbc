"""The table of operations against the tables inside the installed official SDKs: none is missing, none invented."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support import drift

from landline.edge.unserved import place
from landline.wire.operations import API_VERSIONS, SERVICES

PYTHON = {
    "Identity": ["azure.communication.identity._generated.operations._operations"],
    "SMS": ["azure.communication.sms._generated.operations._sms_operations"],
    "Phone numbers": ["azure.communication.phonenumbers._generated.operations._operations"],
    "SIP routing": ["azure.communication.phonenumbers.siprouting._generated.operations._operations"],
    "Chat": [
        "azure.communication.chat._generated.operations._chat_operations",
        "azure.communication.chat._generated.operations._chat_thread_operations",
    ],
    "Rooms": ["azure.communication.rooms._generated.operations._operations"],
    "Network traversal": [
        "azure.communication.networktraversal._generated.operations._communication_network_traversal_operations"
    ],
    "Call automation": ["azure.communication.callautomation._generated.operations._operations"],
    "Email": ["azure.communication.email._operations._operations"],
    "Messages": ["azure.communication.messages._operations._operations"],
    "Job router": ["azure.communication.jobrouter._operations._operations"],
}
ELSEWHERE = {
    "Identity": {
        # azure-communication-common's credential asks for these (acs-wire.md 5.4)
        ("POST", "/access/entra/:exchangeAccessToken"),
        ("POST", "/access/teamsExtension/:exchangeAccessToken"),
    },
    "SMS": {
        # later than the Python SDK: the JavaScript beta's and the 2026-01-23 specification's (acs-wire.md 4.2, 4.3)
        ("POST", "/sms/optouts:add"),
        ("POST", "/sms/optouts:remove"),
        ("POST", "/sms/optouts:check"),
        ("GET", "/deliveryReports/{}"),
    },
    "Email": {("GET", "/emails/operations/{}")},  # the Python SDK goes where Operation-Location says
    "Chat": {("GET", "/chat/config/realTimeNotifications")},  # @azure/communication-signaling (7.3)
}


def ours(service: str) -> set[tuple[str, str]]:
    return {place(operation.method, operation.template) for operation in SERVICES[service]}


BESIDE = {"communication-phone-numbers": ours("SIP routing")}
"""Operations of another service's table in a package."""
NODE_MODULES = Path(__file__).parent / "js" / "node_modules" / "@azure"


@pytest.mark.parametrize("service", PYTHON)
def test_the_python_sdks_call_what_the_table_lists(service: str) -> None:
    theirs = {place(*operation) for module in PYTHON[service] for operation in drift.python_operations(module)}
    assert ours(service) == theirs | ELSEWHERE.get(service, set())


@pytest.mark.parametrize(
    ("service", "package"),
    [
        ("Chat", "communication-chat"),
        ("Identity", "communication-identity"),
        ("SMS", "communication-sms"),
        ("SMS", "communication-sms-beta"),
        ("Phone numbers", "communication-phone-numbers"),
        ("Rooms", "communication-rooms"),
        ("Network traversal", "communication-network-traversal"),
    ],
)
def test_the_javascript_sdks_call_nothing_else(service: str, package: str) -> None:
    assert NODE_MODULES.is_dir(), "install the JavaScript SDKs first: make test does"
    theirs = {place(*operation) for operation in drift.javascript_operations(NODE_MODULES / package)}
    assert theirs <= ours(service) | BESIDE.get(package, set())


_VERSION = re.compile(r"""["'](20\d\d-\d\d-\d\d[\w.-]*)["']""")


@pytest.mark.parametrize("service", API_VERSIONS)
def test_the_versions_that_the_python_sdks_ask_for_are_known(service: str) -> None:
    spec = find_spec(PYTHON[service][0].partition("._generated")[0] + "._generated")
    assert spec is not None
    assert spec.origin is not None
    theirs = {found for file in Path(spec.origin).parent.rglob("*.py") for found in _VERSION.findall(file.read_text())}
    assert theirs
    assert theirs <= set(API_VERSIONS[service])


@pytest.mark.parametrize(
    ("service", "package"),
    [
        ("Chat", "communication-chat"),
        ("Chat", "communication-signaling"),
        ("Identity", "communication-identity"),
        ("SMS", "communication-sms"),
        ("SMS", "communication-sms-beta"),
        ("Phone numbers", "communication-phone-numbers"),
        ("Rooms", "communication-rooms"),
        ("Network traversal", "communication-network-traversal"),
    ],
)
def test_the_versions_that_the_javascript_sdks_ask_for_are_known(service: str, package: str) -> None:
    files = [*(NODE_MODULES / package / "dist").rglob("*.js")]
    theirs = {found for file in files for found in _VERSION.findall(file.read_text("utf-8"))}
    known = API_VERSIONS[service] + (API_VERSIONS["SIP routing"] if service == "Phone numbers" else ())
    assert theirs
    assert theirs <= set(known)
