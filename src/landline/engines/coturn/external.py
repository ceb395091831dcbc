"""TURN servers that somebody else runs, with a shared secret of ours. Fills the port `Relay`."""

from collections.abc import Sequence


class ExternalRelay:
    """Servers at `urls` that take credentials made with the first of `secrets`.

    To change the secret: have the servers take both, put the new one first here, and drop the old one when the longest
    credentials have ended.
    """

    def __init__(self, urls: Sequence[str], secrets: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self.secret = secrets[0].encode()

    async def start(self) -> None:
        """Nothing to start."""

    async def check(self) -> None:
        """Their state is for whoever runs them to watch."""

    async def close(self) -> None:
        """Nothing to end."""
