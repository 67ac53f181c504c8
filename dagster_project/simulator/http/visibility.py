"""Objects that exist but are not shown yet: by lists and retrieves, by events, by search. Wall time.

A call or the clock makes objects; `conceal` decides for each kind how long they stay out of sight, and `hidden` names
those of a kind that still are. What embeds or expands such an object shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

Delay = Callable[[str, str], float]  # (kind, id) -> seconds


class Visibility:
    def __init__(self) -> None:
        self._until: dict[tuple[str, str], dict[str, float]] = {}

    def conceal(self, account: str, made: Iterable[tuple[str, str]], delay: Delay) -> None:
        """Hide new objects of an account, given as (kind, id), each for as many seconds as `delay` says."""
        now = time.monotonic()
        for kind, id in made:
            if (seconds := delay(kind, id)) > 0:
                self._until.setdefault((account, kind), {})[id] = now + seconds

    def hidden(self, account: str, kind: str) -> frozenset[str]:
        """The ids of a kind that are not shown now."""
        until = self._until.get((account, kind))
        if not until:
            return frozenset()
        now = time.monotonic()
        for id in [id for id, moment in until.items() if moment <= now]:
            del until[id]
        return frozenset(until)
