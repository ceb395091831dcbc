"""A clock that stands still, for what depends on how little time passes."""

from datetime import UTC, datetime, timedelta

from landline.engines.clock import DrivenClock


class StillClock(DrivenClock):
    """Goes on by `advance` alone: how much a rate lets through depends on no machine."""

    def __init__(self) -> None:
        super().__init__()
        self._began = datetime.now(UTC)

    def now(self) -> datetime:
        return self._began + self.ahead

    def set_back(self, by: timedelta) -> None:
        """As the machine's clock may be."""
        self._began -= by
