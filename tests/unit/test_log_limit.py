"""Lines of the log that peers could have us write by the thousand."""

from landline.core.log_limit import LogLimit


def test_each_thing_is_told_once_a_minute_with_how_often_it_was() -> None:
    limit = LogLimit()
    assert [limit.due("a", now) for now in (0.0, 1.0, 59.0, 60.0)] == [1, 0, 0, 3]
    assert [limit.due("b", now) for now in (61.0, 62.0)] == [1, 0]


def test_what_is_called_otherwise_each_time_is_told_no_oftener_than_so_many_names_are_remembered() -> None:
    limit = LogLimit()
    told = [limit.due(f"made up {number}", 0.001 * number) for number in range(10_000)]
    assert sum(map(bool, told)) == 1001  # the last for all that there was no room for
    assert [limit.due("one more", now) for now in (59.9, 61.0)] == [0, 1]


def test_what_there_was_no_room_for_is_told_with_its_count_after_a_minute() -> None:
    limit = LogLimit()
    for number in range(1000):
        limit.due(number, 50.0)
    assert [limit.due(f"made up {number}", 50.0) for number in range(100)] == [1, *[0] * 99]
    for number in range(1000):
        limit.due(number, 109.0)
    assert limit.due("made up", 109.5) == 0


def test_a_clock_that_is_set_back_keeps_nothing_untold() -> None:
    limit = LogLimit()
    for number in range(2000):
        limit.due(number, 10_000.0)
    assert limit.due(0, 5_000.0)
    assert limit.due("another", 5_000.0) == 1
