"""Who has so much waiting that more of it waits in the database."""

from uuid import UUID

from landline.core.ids import ResourceId
from landline.services.sms.model.crowds import NO_CROWDS, Crowd, Sender, crowd_of, crowds, few

SHOP = ResourceId(UUID(int=1))
OURS, OTHERS = (SHOP, "+1"), (SHOP, "+2")


def numbers(count: int, each: int) -> dict[Sender, int]:
    return {(SHOP, f"+1425555{number:04}"): each for number in range(count)}


def test_a_sender_of_which_much_waits_at_a_carrier_is_a_crowd_there_and_nowhere_else() -> None:
    found = crowds({"north": {OURS: 100, OTHERS: 99}, "south": {OURS: 1}}, 10_000)
    assert found == {Crowd("north", OURS): 100}
    assert crowd_of(found, "north", OURS) == Crowd("north", OURS)
    assert crowd_of(found, "south", OURS) is None
    assert crowd_of(found, "north", OTHERS) is None
    assert crowd_of(found, "north", (ResourceId(UUID(int=2)), "+1")) is None


def test_a_carrier_at_which_many_senders_have_a_little_is_a_crowd_whoever_sends() -> None:
    found = crowds({"north": numbers(100, 10), "south": numbers(99, 10)}, 10_000)
    assert found == {Crowd("north"): 1_000}
    assert crowd_of(found, "north", OURS) == Crowd("north")
    assert crowd_of(found, "south", OURS) is None


def test_a_carrier_at_which_one_sender_has_much_is_open_to_others() -> None:
    assert crowd_of(crowds({"north": {OURS: 9_000}}, 10_000), "north", OTHERS) is None


def test_who_waits_for_his_own_pace_does_not_make_a_crowd_of_those_who_do_not() -> None:
    waiting = {"north": {**numbers(300, 50), OTHERS: 1}}
    assert crowd_of(crowds(waiting, 10_000), "north", OTHERS) == Crowd("north")
    paced = {"north": set(numbers(300, 50))}
    assert crowd_of(crowds(waiting, 10_000, paced=paced), "north", OTHERS) is None


def test_the_more_is_in_memory_the_fewer_are_a_crowd_but_one_is_never() -> None:
    assert [few(10_000, in_hand) for in_hand in (0, 10_000, 14_000, 15_000, 29_999)] == [100, 100, 20, 10, 10]
    assert [few(100, in_hand) for in_hand in (0, 100, 299)] == [1, 1, 1]
    assert crowds({"north": {OURS: 20, OTHERS: 19}}, 10_000, 14_000) == {Crowd("north", OURS): 20}


def test_nobody_is_a_crowd_where_nothing_waits() -> None:
    assert crowds({"north": {}}, 10) == NO_CROWDS


def test_crowds_have_keys_of_their_own() -> None:
    every = [Crowd("north"), Crowd("north", OURS), Crowd("north", OTHERS), Crowd("south", OURS)]
    assert len({crowd.key for crowd in every}) == len(every)
