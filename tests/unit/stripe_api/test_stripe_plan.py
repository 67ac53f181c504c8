"""The fewest requests for what is owed, and what remains owed while it is read."""

from __future__ import annotations

import itertools
import random

from dagster_project.stripe_api.owed import FOREVER, Owed, merged
from dagster_project.stripe_api.plan import PAGE, Place, cheapest


def covered(ranges: list[tuple[int, int]], made: int) -> bool:
    return any(low <= made <= high for low, high in ranges)


def test_rows_that_share_a_page_are_listed_and_lonely_ones_read_singly() -> None:
    places = {"a": Place(1, 1000, 1), "b": Place(40, 960, 40), "c": Place(5000, 200, 5000)}
    plan = cheapest(places, ["d"])
    assert (plan.ranges, sorted(plan.single)) == ([(960, 1000)], ["c", "d"])


def test_every_row_is_covered_by_the_fewest_requests_whatever_their_places() -> None:
    for seed in range(20):
        dice = random.Random(seed)
        rows = dice.choice([300, 5_000, 100_000])
        at = sorted(dice.sample(range(1, rows), 200))
        places = {str(one): Place(one, 10_000_000 - one * 7, one) for one in at}
        plan = cheapest(places)
        for id, place in places.items():
            assert id in plan.single or covered(plan.ranges, place.made)
        fewest, reach = 0, 0
        for one in at:
            if one >= reach:
                fewest, reach = fewest + 1, one + PAGE
        assert plan.requests == fewest


def test_many_single_reads_are_shared_between_both_ways_of_asking_for_one_row() -> None:
    places = {str(n): Place(n * 1000, 10_000_000 - n * 1000, n * 1000) for n in range(1, 401)}
    plan = cheapest(places)
    assert abs(len(plan.single) - len(plan.ranges)) <= 24
    assert plan.requests == 400
    crowded = {id: Place(place.at, place.made, place.at + 300) for id, place in places.items()}
    assert cheapest(crowded).ranges == [], "a second with more rows than a page is no single request"


def test_a_page_that_a_crowded_second_would_overflow_is_not_planned() -> None:
    crowd = {"a": Place(1, 1000, 60), "b": Place(61, 999, 130)}
    assert cheapest(crowd).requests == 2
    assert cheapest({"a": Place(1, 1000, 60), "b": Place(61, 999, 100)}).requests == 1


def test_ranges_that_touch_are_one_and_hold_the_same_seconds() -> None:
    for seed in range(30):
        dice = random.Random(seed)
        ranges = [(low, low + dice.randrange(6)) for low in (dice.randrange(60) for _ in range(8))]
        whole = merged(ranges)
        assert {s for low, high in whole for s in range(low, high + 1)} == {
            s for low, high in ranges for s in range(low, high + 1)
        }
        assert all(one[1] + 1 < other[0] for one, other in itertools.pairwise(whole))


def test_what_is_owed_survives_being_written_down() -> None:
    owed = Owed([(1, 5), (9, FOREVER)], {"ch_1": None, "ch_2": 7}, "pm_3")
    assert Owed.read(owed.kept()) == owed
    assert Owed().kept() == {}
