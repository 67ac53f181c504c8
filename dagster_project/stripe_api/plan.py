"""The fewest requests that read what is owed: single reads, or lists of the time around several rows.

A list request shows up to 100 neighbours in time for the price of one row. Rows are given by their place in the list
(newest first), so that bursts and quiet times cost what they cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dagster_project.stripe_api.owed import Range, merged

PAGE = 100


@dataclass(frozen=True)
class Place:
    """Where the rows of one second, `made`, stand in a list: from `at`, counted from the newest row, to `last`."""

    at: int
    made: int
    last: int


@dataclass(frozen=True)
class Plan:
    """`ranges` of `created` to list; `single` ids to read one by one."""

    ranges: list[Range]
    single: list[str]

    @property
    def requests(self) -> int:
        return len(self.ranges) + len(self.single)


def cheapest(places: Mapping[str, Place], unplaced: Iterable[str] = ()) -> Plan:
    """Cover every row with pages of the list, where a page that would show only one row is a single read.

    Going from the newest row on and beginning each page at the first row not covered yet needs the fewest pages. Of the
    single reads, half become lists of their one second where a page holds it: list and single read have a rate
    limit each (https://docs.stripe.com/rate-limits), so that both are used. `unplaced` rows can only be read singly.
    """
    ranges: list[Range] = []
    lonely: list[tuple[str, Place]] = []
    ordered = sorted(places.items(), key=lambda item: item[1].at)
    first = 0
    while first < len(ordered):
        reach, last = ordered[first][1].at + PAGE, first
        while last + 1 < len(ordered) and ordered[last + 1][1].last < reach:
            last += 1
        if last > first:
            ranges.append((ordered[last][1].made, ordered[first][1].made))
        else:
            lonely.append(ordered[first])
        first = last + 1
    single = sorted(unplaced)
    surplus = len(single) + len(lonely) - len(ranges)
    for id, place in lonely:
        if surplus >= 2 * _WORTH_SHARING and place.last - place.at < PAGE:
            ranges.append((place.made, place.made))
            surplus -= 2
        else:
            single.append(id)
    return Plan(merged(ranges), single)


_WORTH_SHARING = 12  # requests; fewer are over within half a second anyway
