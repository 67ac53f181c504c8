"""The change feed: what the events of one poll, or of webhooks, say must be read again.

An event's payload is in whatever API version the account had, so it only says *which* object changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache

import msgspec

from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.stripe_api.client import Page
from dagster_project.stripe_api.sink import Sink

OVERLAP = 300  # seconds; events may become listable late


class _Object(msgspec.Struct):
    object: str = ""
    id: str | None = None
    created: int | None = None
    date: int | None = None


class _Data(msgspec.Struct):
    object: msgspec.Raw
    previous_attributes: msgspec.Raw = msgspec.Raw(b"null")


class Event(msgspec.Struct):
    id: str
    type: str
    created: int
    data: _Data
    livemode: bool = False


_event = msgspec.json.Decoder(Event)
_object = msgspec.json.Decoder(_Object)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_before = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)

Dirty = dict[str, dict[str, int | None]]


def read(line: bytes) -> Event:
    return _event.decode(line)


def dirty(events: Iterable[Event], marked: Dirty | None = None) -> Dirty:
    """Object name -> id -> `created` where the event tells it, added to `marked`.

    Unknown types mark nothing; they are kept as events.
    """
    marked = {} if marked is None else marked
    for event in events:
        told_of = _told_of(event.type)
        if not told_of:
            continue
        head = _object.decode(event.data.object)
        for row in told_of:
            if head.object not in row.kinds:
                continue
            # An `invoice.upcoming` event shows a preview; its id names nothing that could be read.
            if head.id and row.strategy != "children" and not head.id.startswith("upcoming_"):
                # What is deleted is in no list any more, so that its time is of no use.
                gone = row.tombstone and event.type.endswith(".deleted")
                made = head.created if head.created is not None else head.date
                marked.setdefault(row.name, {})[head.id] = None if gone else made
            if row.marks:
                values, notes = _fields.decode(event.data.object), _only_notes(event)
                for field, target in row.marks.items():
                    # What its owner noted on an object changes no other one that does not show it.
                    if notes and target not in (row.embedded_in or {}):
                        continue
                    id = _reference(_inside(values, field))
                    if id:
                        marked.setdefault(target, {}).setdefault(id, None)
    return marked


def _only_notes(event: Event) -> bool:
    changed = _before.decode(event.data.previous_attributes)
    return changed is not None and 0 < len(changed) == len(changed.keys() & {"metadata", "description"})


@cache
def _told_of(event_type: str) -> tuple[StripeObject, ...]:
    return tuple(row for row in CATALOGUE.values() if row.announces(event_type))


def _inside(values: dict[str, msgspec.Raw], path: str) -> msgspec.Raw | None:
    """The field at a dotted path."""
    first, _, rest = path.partition(".")
    value = values.get(first)
    if value is None or not rest:
        return value
    try:
        return _inside(_fields.decode(value), rest)
    except msgspec.ValidationError:  # not an object here
        return None


@cache
def _given_away(event_type: str) -> tuple[tuple[StripeObject, ...], tuple[tuple[StripeObject, str, str], ...]]:
    """Objects of which rows may have appeared, and whose rows (column = field of the event's object) it touches."""
    rows = [row for row in CATALOGUE.values() if any(event_type.startswith(prefix) for prefix in row.appears)]
    touched = [
        (row, field, column)
        for row in CATALOGUE.values()
        for prefix, fields in row.touched.items()
        if event_type.startswith(prefix)
        for field, column in fields.items()
    ]
    return tuple(rows), tuple(touched)


def _reference(value: msgspec.Raw | None) -> str | None:
    """The id in an expandable field."""
    if value is None:
        return None
    found = msgspec.json.decode(value)
    if isinstance(found, dict):
        found = found.get("id")
    return found if isinstance(found, str) else None


@dataclass
class News:
    """Takes events for a sink: only those that were never `seen` are landed and mark objects.

    `marks` are of all. A `first` reading lists every object anyway: its marks are only of what lists hide, and of what
    was announced since `late` and may not be listed yet, or was listed before by a run that was cut short. `appeared`
    are objects of which rows may be new that have no event of their own, `touched` object -> column -> values of rows
    that may have changed without one.
    """

    sink: Sink
    seen: set[str]
    late: int
    first: bool
    marks: Dirty = field(default_factory=dict)
    appeared: set[str] = field(default_factory=set)
    touched: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    @property
    def row(self) -> StripeObject:
        return self.sink.row

    def take(self, page: Page, source: str = "event") -> None:
        new = [at for at, head in enumerate(page.heads) if head.id not in self.seen]
        lines = [page.lines[at] for at in new]
        # A first reading that was cut short may have loaded events and not kept what they announce.
        self.mark(page.lines if self.first else lines)
        self.sink.take(replace(page, lines=lines, heads=[page.heads[at] for at in new]), source)

    async def room(self) -> None:
        """Events have no embedded lists."""

    def mark(self, lines: Iterable[bytes]) -> None:
        """Remember what events announce, landed by this run or one before."""
        for event in map(read, lines):
            self.seen.add(event.id)
            hidden = any(row.hidden_note for row in _told_of(event.type))
            if not self.first or hidden or event.created >= self.late:
                dirty([event], self.marks)
            if not self.first or event.created >= self.late:
                self._give_away(event)

    def _give_away(self, event: Event) -> None:
        appeared, touched = _given_away(event.type)
        self.appeared.update(row.name for row in appeared)
        if touched:
            values = _fields.decode(event.data.object)
            for row, name, column in touched:
                if value := _reference(values.get(name)):
                    self.touched.setdefault(row.name, {}).setdefault(column, set()).add(value)

    def brought(self, bodies: Iterable[bytes], livemode: bool, now: datetime) -> None:
        """Events that webhooks brought; those of the other mode are left alone."""
        for body in bodies:
            event = read(body)
            if event.id not in self.seen and event.livemode == livemode:
                line = msgspec.json.format(body, indent=-1)
                self.mark([line])
                self.sink.add([line], now, {"path": "webhook", "rows": 1}, "webhook")
