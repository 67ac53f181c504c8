"""The fewest requests that read what is owed: single reads, or lists of the time around several rows.

A list request shows up to 100 neighbours in time for the price of one row. Rows are given by their place in the list
(newest first), so that bursts and quiet times cost what they cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

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
    """`ranges` of `created` to list, which takes so many `pages`; `single` ids to read one by one, `filtered` ids to
    list alone by their second and the value of a filter."""

    ranges: list[Range]
    single: list[str]
    filtered: dict[str, tuple[int, str]] = field(default_factory=dict)
    pages: int = 0

    @property
    def requests(self) -> int:
        return self.pages + len(self.single) + len(self.filtered)


@dataclass
class _Second:
    """The wanted rows of one second, and where that stands."""

    place: Place
    ids: list[str]


def cheapest(
    places: Mapping[str, Place], unplaced: Iterable[str] = (), filters: Mapping[str, str] | None = None
) -> Plan:
    """Cover every row with pages of the list or single reads, whichever takes fewer requests.

    Of the single reads, half become lists: of their one second where a page holds it, or of that and a filter that
    leaves only them (`filters`: id to value). List and single read have a rate limit each
    (https://docs.stripe.com/rate-limits), so that both are used. `unplaced` rows can only be read singly.
    """
    seconds: dict[int, _Second] = {}
    for id, place in sorted(places.items(), key=lambda item: item[1].at):
        seconds.setdefault(place.made, _Second(place, [])).ids.append(id)
    ranges: list[Range] = []
    pages, lonely = 0, list[tuple[str, Place]]()
    for group, cost in _groups(list(seconds.values())):
        if cost is None:
            lonely += [(id, group[0].place) for id in group[0].ids]
        else:
            ranges.append((group[-1].place.made, group[0].place.made))
            pages += cost
    single, filtered = sorted(unplaced), dict[str, tuple[int, str]]()
    surplus = len(single) + len(lonely) - pages
    for id, place in lonely:
        fits, value = place.last - place.at < PAGE, (filters or {}).get(id)
        if surplus < 2 * _WORTH_SHARING or not (fits or value):
            single.append(id)
            continue
        surplus -= 2
        if fits:
            ranges.append((place.made, place.made))
            pages += 1
        elif value:
            filtered[id] = place.made, value
    return Plan(merged(ranges), single, filtered, pages)


def _groups(seconds: list[_Second]) -> Iterator[tuple[list[_Second], int | None]]:
    """The seconds in groups: those that are listed together, with the pages that takes, or one whose rows are read
    singly (None). Each group is the cheapest end of what comes before it, so that all together are the cheapest."""
    best: list[tuple[int, int, int | None]] = [(0, 0, None)]  # requests up to a second, its group's first, its pages
    for end, last in enumerate(seconds):
        found: tuple[int, int, int | None] = (best[end][0] + len(last.ids), end, None)
        rows = 0
        for first in range(end, max(-1, end - max(_FEWEST_LOOKED_AT, _LOOKED_AT // len(seconds))), -1):
            rows += len(seconds[first].ids)
            pages = -(-(last.place.last - seconds[first].place.at + 1) // PAGE)
            if pages > rows + 1:
                break
            if best[first][0] + pages < found[0]:
                found = (best[first][0] + pages, first, pages)
        best.append(found)
    end, groups = len(seconds), list[tuple[list[_Second], int | None]]()
    while end:
        _, first, pages_of = best[end]
        groups.append((seconds[first:end], pages_of))
        end = first
    yield from reversed(groups)


_WORTH_SHARING = 12  # requests; fewer are over within half a second anyway
_FEWEST_LOOKED_AT, _LOOKED_AT = 100, 2_000_000  # seconds that may be listed together: for each, and for all
