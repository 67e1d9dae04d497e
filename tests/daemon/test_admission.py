"""Under a flood everybody gets a turn."""

from __future__ import annotations

from dsmip.core.standing import Standing
from dsmip.daemon.admission import KEPT, KEPT_EACH, Admission


def classify(packet: bytes) -> tuple[Standing, bytes]:
    """Standing and sender are the first two octets."""
    return Standing(packet[0]), packet[1:2]


def packet(standing: Standing, sender: int, number: int = 0) -> bytes:
    return bytes((standing, sender, number))


def taken(admission: Admission, count: int) -> list[bytes]:
    found = [admission.take() for _ in range(count)]
    return [one for one in found if one is not None]


def test_what_comes_from_one_sender_stays_in_order() -> None:
    admission = Admission(classify)
    sent = [packet(Standing.KNOWN, 1, number) for number in range(KEPT_EACH)]
    for one in sent:
        admission.put(one)
    assert len(admission) == KEPT_EACH
    assert taken(admission, KEPT_EACH + 1) == sent
    assert len(admission) == admission.dropped == 0


def test_a_flood_in_one_name_delays_nobody_else() -> None:
    admission = Admission(classify)
    for number in range(200):
        admission.put(packet(Standing.EXPECTED, 1, number))
    admission.put(packet(Standing.EXPECTED, 2))
    assert packet(Standing.EXPECTED, 2) in taken(admission, 2)
    assert admission.dropped == 200 - KEPT_EACH


def test_of_a_flood_in_one_name_the_latest_are_kept() -> None:
    admission = Admission(classify)
    for number in range(200):
        admission.put(packet(Standing.KNOWN, 1, number))
    assert taken(admission, 200) == [packet(Standing.KNOWN, 1, n) for n in range(200 - KEPT_EACH, 200)]


def test_each_standing_gets_its_share() -> None:
    admission = Admission(classify)
    for standing in Standing:
        for sender in range(100):
            admission.put(packet(standing, sender))
    first = taken(admission, 10 * len(Standing))
    assert [sum(one[0] == standing for one in first) for standing in Standing] == [10] * len(Standing)


def test_strangers_do_not_use_up_the_room_of_others() -> None:
    admission = Admission(lambda one: (Standing(one[0]), one[1:]))
    for number in range(2 * KEPT):
        admission.put(bytes((Standing.STRANGER,)) + number.to_bytes(2))
    admission.put(packet(Standing.KNOWN, 7))
    assert len(admission) == KEPT + 1
    assert admission.dropped == KEPT
    assert packet(Standing.KNOWN, 7) in taken(admission, len(Standing))
