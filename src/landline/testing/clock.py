"""The server's clock, driven from a test: tokens, reports, retries and retention all follow it."""

from datetime import datetime, timedelta

from landline.testing.admin import Admin


class Clock:
    """The clock of one server. Time only moves ahead, for everybody who uses that server."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def now(self) -> datetime:
        """The server's present instant, in UTC."""
        return datetime.fromisoformat(self._admin.call("GET", "/clock")["now"])

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """Move time ahead; all that falls due on the way is done, in order, when this returns the new instant."""
        by = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self._admin.call("POST", "/clock:advance", {"seconds": by.total_seconds()})
        return self.now()
