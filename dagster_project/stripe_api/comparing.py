"""What Stripe lists, held against the warehouse while it comes in: equal rows are counted, others are kept to look at.

A collector takes the pages of one listed object and the children that arrive inside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from dagster_project.stripe_api.catalog import StripeObject, columns
from dagster_project.stripe_api.client import Page
from dagster_project.stripe_api.fingerprints import NO_DAY, Known, fingerprint
from dagster_project.stripe_api.owed import Range
from dagster_project.warehouse.stage import embedded

_DAY = 86_400
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True)
class Shown:
    """A row as Stripe shows it; `parent` is the listed object that it came with."""

    line: bytes
    day: int
    parent: str


@dataclass
class Compared:
    """One object as read in the list of `via`: what Stripe showed per day, and rows that are not as `known`."""

    row: StripeObject
    via: str
    known: Known
    rows: Counter[int] = field(default_factory=Counter)
    sums: Counter[int] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    unsure: dict[str, Shown] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)  # of rows whose columns need a look

    def add(self, id: str, line: bytes, day: int, parent: str) -> None:
        """Hold one row of Stripe against the warehouse; a row that was shown before counts once."""
        at = self.known.find(id)
        if at is not None:
            if self.known.seen[at]:
                return
            self.known.seen[at] = 1
            content = self.known.prints[at]
            # The warehouse writes what arrived inside a parent anew, without escapes.
            if content == fingerprint(self.row, line) or content == fingerprint(self.row, _anew(line)):
                self.count(day, content)
                return
        self.unsure[id] = Shown(line, day, parent)

    def count(self, day: int, content: int) -> None:
        """A row that Stripe shows, with the fingerprint that the warehouse gives it, or would."""
        self.rows[day] += 1
        self.sums[day] += content

    def accept(self, id: str) -> None:
        """A row that Stripe can no longer be asked for counts as it is."""
        at = self.known.find(id)
        if at is not None:
            self.known.seen[at] = 1
            self.count(self.known.days[at], self.known.prints[at])

    def accept_unseen(self) -> None:
        """All rows that were not shown count as they are."""
        for at, seen in enumerate(self.known.seen):
            if not seen:
                self.known.seen[at] = 1
                self.count(self.known.days[at], self.known.prints[at])


def _anew(line: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(line))


@dataclass
class Collector:
    """Takes pages as a sink does. `compared` is by object: the listed `row` and what arrives inside it.

    `misfits` are rows of the warehouse whose columns do not say what their payload says; `asked` parents that answered.
    """

    row: StripeObject
    compared: dict[str, Compared]
    misfits: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    on_rows: Callable[[int], None] = lambda rows: None
    asked: set[str] = field(default_factory=set)
    continued: list[tuple[StripeObject, Shown, str]] = field(default_factory=list)  # lists that go on: child, in, url

    def take(self, page: Page, source: str = "list", *, parent: str = "") -> None:
        """Compare a page of the listed object; `parent` names whose list it is where each parent has one."""
        self.on_rows(len(page.lines))
        days = set()
        for line, head in zip(page.lines, page.heads, strict=True):
            made = getattr(head, self.row.created_field, None) if self._timed else None
            day = NO_DAY if made is None else made // _DAY
            days.add(day)
            self.add(self.row, str(head.id or self.row.name), line, day, parent)
        for one in self.compared.values():
            one.answers.update(days)

    async def room(self) -> None:
        """Lists that go on inside objects are read at the end."""

    def keep_only(self, ranges: list[Range]) -> None:
        """Forget rows that a list without `created` filter showed beside what was asked for."""

        def asked(shown: Shown) -> bool:
            return any(low // _DAY <= shown.day <= high // _DAY for low, high in ranges)

        for one in self.compared.values():
            one.unsure = {id: shown for id, shown in one.unsure.items() if asked(shown)}
        self.continued = [one for one in self.continued if asked(one[1])]

    def add(self, row: StripeObject, id: str, line: bytes, day: int, parent: str = "") -> None:
        """Compare one object and what is inside it. `parent` is the listed object that it came with, if not itself."""
        self.compared[row.name].add(id, line, day, parent)
        if id in self.misfits.get(row.name, ()):
            self.compared[row.name].parents[id] = parent
        inside = [(child, path) for child, path in embedded(row) if child.name in self.compared]
        if not inside:
            return
        fields = _fields.decode(line)
        for child, path in inside:
            # The listed object itself, or what it came with for what is inside of what is inside.
            listed = id if row is self.row else parent
            container = _at(fields, path)
            if container is None:
                continue
            items, more, url = _read(container)
            if more and child.parent == row.name:
                self.continued.append((child, Shown(line, day, listed), url))
                continue
            for item in items:
                self.add_child(child, row, id, bytes(item), day, listed)

    def add_child(self, child: StripeObject, row: StripeObject, owner: str, line: bytes, day: int, listed: str) -> None:
        """Compare an object that arrived inside `owner`, unless it belongs to something else."""
        body = _fields.decode(line)
        id = _text(body.get("id"))
        if id and (child.parent or _belongs(body, row, owner)):
            self.add(child, id, line, day, listed)

    @cached_property
    def _timed(self) -> bool:
        return any(one.name == self.row.created_field and one.type == "time" for one in columns(self.row.name))


def _at(fields: dict[str, msgspec.Raw], path: str) -> msgspec.Raw | None:
    first, _, rest = path.partition(".")
    found = fields.get(first)
    if found is None or not rest:
        return found
    return _at(_fields.decode(found), rest) if bytes(found)[:1] == b"{" else None


def _read(container: msgspec.Raw) -> tuple[list[msgspec.Raw], bool, str]:
    """The objects of an embedded list, array or single object; whether it goes on, and where."""
    start = bytes(container)[:1]
    if start == b"[":
        return [one for one in _elements.decode(container) if bytes(one)[:1] == b"{"], False, ""
    if start != b"{":
        return [], False, ""
    fields = _fields.decode(container)
    if "data" not in fields:
        return [container], False, ""
    more = fields.get("has_more") is not None and bytes(fields["has_more"]) == b"true"
    return [one for one in _elements.decode(fields["data"]) if bytes(one)[:1] == b"{"], more, _text(fields.get("url"))


def _belongs(body: dict[str, msgspec.Raw], row: StripeObject, owner: str) -> bool:
    """Whether a discount applies to this owner; warehouse/days.py asks the same of its rows."""
    to: Any = {name: _text(body.get(name)) for name in ("customer", "subscription", "subscription_item", "invoice")}
    if row.name == "subscription_items":
        return bool(to["subscription_item"] == owner)
    if to["subscription_item"]:
        return False
    if row.name == "invoices":
        return bool(to["invoice"] == owner)
    if to["invoice"]:
        return False
    if row.name == "subscriptions":
        return bool(to["subscription"] == owner)
    return row.name == "customers" and to["customer"] == owner and not to["subscription"]


def _text(value: msgspec.Raw | None) -> str:
    found = msgspec.json.decode(value) if value is not None else None
    return found if isinstance(found, str) else ""


def listed_with(row: StripeObject) -> list[StripeObject]:
    """The listed object and everything that is compared when it is listed."""
    found = [row]
    for one in found:
        for child, _ in embedded(one):
            root = child.parent is None or child.parent == one.name
            if root and child not in found:
                found.append(child)
    return found
