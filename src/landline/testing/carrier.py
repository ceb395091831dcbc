"""The faults of the simulated carrier, set from a test: deterministic rules, and the seed of what is left to chance."""

from typing import Any

from landline.testing.admin import Admin


class Carrier:
    """The simulated carrier of one server."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def rule(
        self, number: str = "*", *, code: int | None = None, silent: bool = False, temporary: bool = False, **when: Any
    ) -> str:
        """From now on messages to `number` (or `+1425*`) end with detail `code`, or `silent`ly; the rule's id.

        `when`: `nth`, `every`, `count`, `rate` say which messages, `after` (seconds), `jitter` and `at` (`submit` or
        `report`) when it is said.
        """
        outcome = {"code": code, "silent": silent, "temporary": temporary}
        return self._admin.call("POST", "/carrier/rules", {"number": number, "outcome": outcome, **when})["id"]

    def clear(self) -> None:
        """Take away every rule."""
        self._admin.call("DELETE", "/carrier/rules")

    def seed(self, seed: int) -> None:
        """Make everything left to chance from now on repeat as it was with the same seed."""
        self._admin.call("PUT", "/carrier/seed", {"seed": seed})
