"""One process's guard without caps: what it counts, how much it remembers, and that resources do not mix."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from landline.core.countries import country
from landline.core.ids import ResourceId
from landline.engines.clock import SystemClock
from landline.services.sms.guard import Guard
from landline.services.sms.guard_metrics import GuardMetrics
from landline.services.sms.model import settings as model
from landline.services.sms.model.settings import SmsSettings
from landline.store.database import Database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS, THEIRS = ResourceId(UUID(int=1)), ResourceId(UUID(int=2))
GUARDED = model.defaults(guarded=True, countries=("US", "DE"))
OPEN = model.defaults(guarded=False, countries=("*",))


def make(*, memory_bytes: int = 1 << 20, share: Callable[[], int] = lambda: 1) -> Guard:
    nothing_to_ask = Database(None)
    return Guard(nothing_to_ask, SystemClock(), country=country, share=share, memory_bytes=memory_bytes)


def passed(guard: Guard, resource: ResourceId, numbers: list[str], settings: SmsSettings = GUARDED) -> int:
    return guard.judge(resource, numbers, settings, NOW).count(None)


def far_apart(count: int, start: int = 0) -> list[str]:
    """Numbers none of which is near another, each of a prefix of its own."""
    return [f"+49{100_000 + start + step}00000" for step in range(count)]


async def test_without_caps_the_database_is_not_asked() -> None:
    assert await make().decide(OURS, far_apart(3), 1, GUARDED, NOW) == [None] * 3


def test_resources_do_not_mix() -> None:
    guard = make()
    assert passed(guard, OURS, ["+14255550100"] * 9) == 5
    assert passed(guard, THEIRS, ["+14255550100"] * 9) == 5
    assert passed(guard, THEIRS, ["+14255550100"] * 9, OPEN) == 9


def test_a_process_that_is_alone_again_has_the_whole_limit_again() -> None:
    processes = [5]
    guard = make(share=lambda: len(processes))
    processes *= 5
    assert passed(guard, OURS, ["+14255550100"] * 9) == 1
    del processes[1:]
    assert passed(guard, OURS, ["+14255550100"] * 9) == 4


def test_what_is_blocked_is_counted_by_what_blocked_it() -> None:
    guard, registry = make(), CollectorRegistry()
    GuardMetrics(registry, guard)
    passed(guard, OURS, ["+14255550100"] * 7 + ["+447400123456"] * 3)
    passed(guard, OURS, [f"+1303555{line:04d}" for line in range(15)])
    passed(guard, OURS, [f"+1206555{line:04d}" for line in range(0, 900, 10)])
    assert guard.counters() == {"country": 3, "sequence": 6, "recipient": 2, "prefix": 30, "cap": 0, "spend": 0}
    text = generate_latest(registry).decode()
    assert 'landline_sms_blocked_total{reason="sequence"} 6.0' in text
    assert 'landline_sms_blocked_total{reason="cap"} 0.0' in text


def test_memory_stays_within_its_bound_and_the_last_are_remembered() -> None:
    guard = make(memory_bytes=100_000)
    for start in range(0, 50_000, 100):
        passed(guard, OURS, far_apart(100, start))
        assert guard.size_bytes <= 100_000
    last = far_apart(1, 49_999)
    assert passed(guard, OURS, last * 9) == 4  # one was sent already


def test_a_busy_resource_takes_its_part_and_leaves_the_others_theirs() -> None:
    guard = make(memory_bytes=400_000)
    passed(guard, THEIRS, ["+14255550100"] * 5)
    for start in range(0, 50_000, 100):
        passed(guard, OURS, far_apart(100, start))
        assert guard.size_bytes <= 230_000
    assert passed(guard, THEIRS, ["+14255550100"]) == 0


def test_when_all_is_taken_the_quietest_resource_is_forgotten() -> None:
    guard = make(memory_bytes=400_000)
    passed(guard, THEIRS, ["+14255550100"] * 5)
    for start in range(0, 200_000, 100):
        passed(guard, ResourceId(UUID(int=100 + start // 100 % 8)), far_apart(100, start))
        assert guard.size_bytes <= 400_000
    assert passed(guard, THEIRS, ["+14255550100"]) == 1


def test_more_resources_than_are_watched_are_no_more_memory() -> None:
    guard = make(memory_bytes=1 << 30)
    for number in range(10_100):
        passed(guard, ResourceId(UUID(int=number)), ["+14255550100"])
    assert len(guard._watched) == 10_000
    assert guard.size_bytes == sum(watched.watch.size_bytes for watched in guard._watched.values())


def test_size_follows_what_is_forgotten_with_time() -> None:
    guard = make()
    passed(guard, OURS, far_apart(1_000))
    for days in (1, 2):
        guard.judge(OURS, far_apart(1), GUARDED, NOW + timedelta(days=days, hours=1))
    assert 0 < guard.size_bytes < 1_000


def test_a_clock_that_is_set_back_makes_no_window_longer() -> None:
    """GUARDED lets a recipient have 5 in a minute, and more in an hour."""
    guard, number, hour = make(), "+14255550100", timedelta(hours=1)

    def let(at: datetime) -> int:
        return guard.judge(OURS, [number] * 9, GUARDED, at).count(None)

    assert [let(NOW), let(NOW + timedelta(seconds=1) - hour), let(NOW + timedelta(seconds=62) - hour)] == [5, 0, 5]
