"""What is still to be read of one object of one account.

It is kept with the cursor, in the transaction that loads the rows that pay for it: a run that dies, or an object that
cannot be read for a while, owes it still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Range = tuple[int, int]  # of `created` in Unix seconds, both ends included

FOREVER = 2**40  # an open end: Stripe's clock may be ahead of what it told, and objects may be dated into the future


@dataclass
class Owed:
    """`ranges` to list, single `ids` with their `created` where it is known, and for lists without `created` filter
    `after`: the row after which the list goes on, '' for its start, None when it need not be listed."""

    ranges: list[Range] = field(default_factory=list)
    ids: dict[str, int | None] = field(default_factory=dict)
    after: str | None = None
    _left: Callable[[], list[Range]] | None = None
    _followed: list[Range] = field(default_factory=list)

    @classmethod
    def read(cls, kept: Mapping[str, Any] | None) -> Owed:
        """From the JSON of a cursor."""
        kept = kept or {}
        return cls([(low, high) for low, high in kept.get("ranges", ())], dict(kept.get("ids", {})), kept.get("after"))

    def kept(self) -> dict[str, Any]:
        """As JSON for a cursor; empty when nothing is owed."""
        self.update()
        shown = {"ranges": [list(one) for one in self.ranges], "ids": self.ids}
        return {name: value for name, value in shown.items() if value} | (
            {} if self.after is None else {"after": self.after}
        )

    def owe(self, ranges: Iterable[Range]) -> None:
        """Add ranges; those that overlap or touch become one."""
        self.ranges = merged([*self.ranges, *ranges])

    def follow(self, left: Callable[[], list[Range]]) -> None:
        """The ranges are being read; `left` says what of them is missing at any time."""
        self._left, self._followed = left, self.ranges

    def reach(self, id: str) -> None:
        """The list has been read down to this row."""
        self.after = id

    def share_left(self, until: int) -> float | None:
        """Of the time (up to `until`) whose ranges are being read, the part still missing; None when none is."""
        followed = _seconds(self._followed, until)
        return _seconds(self._left(), until) / followed if self._left and followed else None

    def update(self) -> None:
        """Take over what is left of ranges that are being read."""
        if self._left:
            self.ranges = self._left()


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same seconds as disjoint ranges, earliest first."""
    result: list[Range] = []
    for low, high in sorted(one for one in ranges if one[0] <= one[1]):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def _seconds(ranges: Iterable[Range], until: int) -> int:
    return sum(max(0, min(high, until) - low + 1) for low, high in ranges)
