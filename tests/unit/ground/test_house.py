"""The figures of the house that need no clock stay within their bounds."""

from benchmarks.house import biggest_room, places


def test_no_room_holds_more_than_a_seventh_of_the_library() -> None:
    room, share = biggest_room()
    assert 0.03 < share <= 0.15, room


def test_the_worked_examples_touch_few_files() -> None:
    assert 1 <= len(places("Adding an objective")) <= 2
    assert 1 <= len(places("Adding a step")) <= 3
