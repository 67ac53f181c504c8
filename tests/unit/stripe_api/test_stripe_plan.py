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
    by_filter = cheapest(crowded, filters={id: f"pi_{id}" for id in crowded})
    assert by_filter.requests == 400
    assert abs(len(by_filter.single) - len(by_filter.filtered)) <= 24
    assert {*by_filter.single, *by_filter.filtered} == crowded.keys()


def test_a_crowded_second_is_listed_to_its_end_where_that_is_cheaper() -> None:
    def crowd(wanted: int) -> dict[str, Place]:
        return {str(n): Place(1, 1000, 250) for n in range(wanted)}

    assert (cheapest(crowd(200)).ranges, cheapest(crowd(200)).requests) == ([(1000, 1000)], 3)
    assert (cheapest(crowd(2)).ranges, cheapest(crowd(2)).requests) == ([], 2)
    beside = crowd(200) | {"x": Place(251, 999, 251), "y": Place(300, 950, 300)}
    assert (cheapest(beside).ranges, cheapest(beside).requests) == ([(950, 1000)], 3)


def test_no_way_of_covering_crowded_and_quiet_seconds_is_cheaper() -> None:
    def least(groups: list[tuple[Place, int]]) -> int:
        """Every way of cutting them into lists, single seconds by the cheaper of both."""
        found = [0] * (len(groups) + 1)
        for end in range(1, len(groups) + 1):
            found[end] = min(
                found[first] + min(
                    -(-(groups[end - 1][0].last - groups[first][0].at + 1) // PAGE),
                    sum(wanted for _, wanted in groups[first:end]),
                )
                for first in range(end)
            )  # fmt: skip
        return found[-1]

    for seed in range(200):
        dice = random.Random(seed)
        groups, at, made = [], 1, 10_000
        for _ in range(dice.randrange(1, 40)):
            size = dice.choice([1, 1, 2, 60, 180, 350])
            groups.append((Place(at, made, at + size - 1), dice.randrange(1, size + 1)))
            at, made = at + size + dice.choice([0, 5, 80, 400]), made - dice.randrange(1, 50)
        places = {f"{n}-{one}": place for n, (place, wanted) in enumerate(groups) for one in range(wanted)}
        plan = cheapest(places)
        assert plan.requests == least(groups)
        for id, place in places.items():
            assert id in plan.single or covered(plan.ranges, place.made)


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
