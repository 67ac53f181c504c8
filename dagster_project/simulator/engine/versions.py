"""Events in an older API version: what they carry is the pinned object, led back release by release.

`data` of an event is rendered once, in the version that the account (or the webhook endpoint) had at that moment.
Source: https://docs.stripe.com/webhooks/versioning, https://docs.stripe.com/api/events/object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.older_shapes import RELEASES

if TYPE_CHECKING:
    from dagster_project.simulator.engine.world import World

Object = dict[str, Any]
# Every version since 2020-08-27: https://docs.stripe.com/changelog.
VERSIONS = (
    "2020-08-27", "2022-08-01", "2022-11-15", "2023-08-16", "2023-10-16", "2024-04-10", "2024-06-20",
    "2024-09-30.acacia", "2024-10-28.acacia", "2024-11-20.acacia", "2024-12-18.acacia", "2025-01-27.acacia",
    "2025-02-24.acacia", "2025-03-31.basil", "2025-04-30.basil", "2025-05-28.basil", "2025-06-30.basil",
    "2025-07-30.basil", "2025-08-27.basil", "2025-09-30.clover", "2025-10-29.clover", "2025-11-17.clover",
    "2025-12-15.clover", "2026-01-28.clover", "2026-02-25.clover", "2026-03-25.dahlia", "2026-04-22.dahlia",
    "2026-05-27.dahlia", "2026-06-24.dahlia", "2026-07-29.dahlia", "2026-08-26.dahlia", "2026-09-30.endive",
    "2026-10-28.endive",
)  # fmt: skip
PINNED = VERSIONS[-1]


class Renderer:
    """Renders for one version. What an old shape says and the new one does not is looked up in the world."""

    def __init__(self, world: World, version: str) -> None:
        self.world = world
        self._steps = [changes for first, changes in RELEASES if version[:10] < first]

    def render(self, obj: Object) -> Object:
        """A copy of a pinned object in the shape of the version."""
        shown = shapes.frozen(obj)
        self._lead_back(shown)
        return shown

    def show(self, id: str | None, kind: str) -> Object | None:
        """A stored object in the shape of the version, even after its deletion; None when there is none."""
        found = self.world.store.known(id, kind) if id else None
        return self.render(found) if found else None

    def _lead_back(self, value: Any) -> None:
        if isinstance(value, list):
            for each in value:
                self._lead_back(each)
        if not isinstance(value, dict):
            return
        inside = [*value.values()]  # an outer object takes from inner ones what these lose afterwards
        kind = value.get("object")
        if isinstance(kind, str):
            for changes in self._steps:
                for change in (*changes.get(kind, ()), *changes.get("*", ())):
                    change(self, value)
        for each in inside:
            self._lead_back(each)

    def data(self, obj: Object, previous: Object | None) -> Object:
        """`data` of an event about a pinned object and its pinned previous attributes."""
        shown = self.render(obj)
        if previous is None:
            return {"object": shown}
        before = self.render(restored(obj, previous))
        changes = {**dict.fromkeys(name for name in before if name not in shown), **shown}
        return {"object": shown, "previous_attributes": previous_attributes(before, changes)}


def previous_attributes(old: Object, changes: Object) -> Object:
    """What the changed fields were: of hashes only the parts that changed, null for new ones; arrays whole.

    Source: https://docs.stripe.com/api/events/object#event_object-data-previous_attributes
    """
    previous: Object = {}
    for name, value in changes.items():
        before = old.get(name)
        if before == value and name in old:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            previous[name] = previous_attributes(before, {**dict.fromkeys(before), **value})
        else:
            previous[name] = before
    return previous


def restored(now: Object, previous: Object) -> Object:
    """What an object was, put together from what it is and what an event says it was."""
    return now | {
        name: restored(now[name], value) if isinstance(value, dict) and isinstance(now.get(name), dict) else value
        for name, value in previous.items()
    }
