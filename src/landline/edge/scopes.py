"""What a user token's scopes allow (acs-wire.md 5.5), asked by the services that users call."""

from landline.core.errors import Forbidden
from landline.core.ids import RawId
from landline.edge.http import Caller

CHAT = "chat"
CHAT_JOIN = "chat.join"
CHAT_JOIN_LIMITED = "chat.join.limited"
VOIP = "voip"
VOIP_JOIN = "voip.join"
ALL = frozenset({CHAT, CHAT_JOIN, CHAT_JOIN_LIMITED, VOIP, VOIP_JOIN})

IN_CHAT = frozenset({CHAT, CHAT_JOIN, CHAT_JOIN_LIMITED})
"""Read and write in threads one is in."""
CHANGE_MEMBERS = frozenset({CHAT, CHAT_JOIN})
"""Add and remove participants as well."""
CHANGE_THREADS = frozenset({CHAT})
"""Create, update and delete threads as well."""


def require(caller: Caller, allowing: frozenset[str]) -> RawId:
    """The user of `caller`, whose token carries one of the scopes `allowing` it. Raises `Forbidden`."""
    if caller.user is None:
        raise Forbidden("This operation is for communication users, with a user access token.")
    if caller.scopes.isdisjoint(allowing):
        needed = ", ".join(sorted(allowing))
        raise Forbidden(f"The token's scopes do not allow this; it needs one of: {needed}.")
    return caller.user
