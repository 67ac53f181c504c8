"""The change feed: what the events of one poll say must be read again.

An event's payload is in whatever API version the account had, so it only says *which* object changed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dagster_project.stripe_api.catalog import CATALOGUE

OVERLAP = 300  # seconds; events may become listable late


class _Object(msgspec.Struct):
    object: str = ""
    id: str | None = None
    created: int | None = None
    date: int | None = None


class _Data(msgspec.Struct):
    object: msgspec.Raw


class Event(msgspec.Struct):
    id: str
    type: str
    created: int
    data: _Data


_event = msgspec.json.Decoder(Event)
_object = msgspec.json.Decoder(_Object)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])

Dirty = dict[str, dict[str, int | None]]


def read(line: bytes) -> Event:
    return _event.decode(line)


def dirty(events: Iterable[Event]) -> Dirty:
    """Object name -> id -> `created` where the event tells it. Unknown types mark nothing; they are kept as events."""
    marked: Dirty = {}
    for event in events:
        head = _object.decode(event.data.object)
        for row in CATALOGUE.values():
            if not row.announces(event.type) or head.object not in row.kinds:
                continue
            # An `invoice.upcoming` event shows a preview; its id names nothing that could be read.
            if head.id and row.strategy != "children" and not head.id.startswith("upcoming_"):
                marked.setdefault(row.name, {})[head.id] = head.created if head.created is not None else head.date
            if row.marks:
                values = _fields.decode(event.data.object)
                for field, target in row.marks.items():
                    id = _reference(values.get(field))
                    if id:
                        marked.setdefault(target, {}).setdefault(id, None)
    return marked


def _reference(value: msgspec.Raw | None) -> str | None:
    """The id in an expandable field."""
    if value is None:
        return None
    found = msgspec.json.decode(value)
    if isinstance(found, dict):
        found = found.get("id")
    return found if isinstance(found, str) else None
