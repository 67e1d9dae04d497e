"""Which of many things stay thawed."""

from __future__ import annotations

from dsmip.core.lately import Lately


def rounds(fleet: int, room: int, count: int) -> list[int]:
    """How many of a fleet that is heard of one by one are found thawed in each round."""
    inside: set[int] = set()
    lately = Lately[int](inside.discard)
    found = []
    for _ in range(count):
        found.append(0)
        for number in range(fleet):
            if number in inside:
                found[-1] += 1
            elif lately.let_in(number, room):
                inside.add(number)
            assert len(inside) <= room
    return found


def test_a_fleet_that_fits_in_is_thawed_once() -> None:
    assert rounds(100, 100, 3) == [0, 100, 100]


def test_of_a_larger_fleet_most_of_the_room_is_found_thawed_in_each_round() -> None:
    assert all(found > 50 for found in rounds(300, 100, 20)[1:])


def test_who_is_heard_of_often_is_soon_inside() -> None:
    inside: set[int] = set()
    lately = Lately[int](inside.discard)
    for number in range(1000):
        if lately.let_in(number, 10):
            inside.add(number)
    turns = 0
    while not lately.let_in(-1, 10):
        turns += 1
    assert turns < 8
