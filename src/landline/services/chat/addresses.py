"""Where chat is, in full, for those who were given no endpoint to join a path to."""

from urllib.parse import quote

from landline.edge.http import Request
from landline.services.chat.model.ids import MessageId, ThreadId, thread_text


def origin(request: Request) -> str:
    """The server as the client of `request` reached it."""
    # The clients take tokens over https only; where TLS ends before us, they still came by https.
    return f"https://{request.host}"


def thread(request: Request, made: ThreadId) -> str:
    """A thread's own URL, written as Azure writes it (JavaScript SDK, recorded tests)."""
    return f"{origin(request)}/chat/threads/{quote(thread_text(made), safe='@')}"


def message(request: Request, within: ThreadId, made: MessageId) -> str:
    """A message's own URL."""
    return f"{thread(request, within)}/messages/{made}"
