"""Landline for other people's tests: a server in a subprocess, handsets, a webhook inbox, a clock to drive.

Only the standard library is used, and each part is imported when it is first named: the pytest plugin lives in this
package and is loaded in every test run of an environment that has Landline.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landline.testing.admin import Admin, AdminError
    from landline.testing.carrier import Carrier
    from landline.testing.clock import Clock
    from landline.testing.handset import Handset, Text
    from landline.testing.inbox import Event, Inbox
    from landline.testing.server import Server, ServerFailed

__all__ = ["Admin", "AdminError", "Carrier", "Clock", "Event", "Handset", "Inbox", "Server", "ServerFailed", "Text"]

_HOME = {
    "Admin": "admin",
    "AdminError": "admin",
    "Carrier": "carrier",
    "Clock": "clock",
    "Event": "inbox",
    "Handset": "handset",
    "Inbox": "inbox",
    "Server": "server",
    "ServerFailed": "server",
    "Text": "handset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
