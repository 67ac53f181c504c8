"""Where pages of one object go: into landed files of a few thousand rows, with what remains to be read beside them."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Container, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from dagster_project.stripe_api.catalog import API_VERSION, CATALOGUE, StripeObject
from dagster_project.stripe_api.client import Page
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.stripe_api.owed import Owed

_FLUSH = 2_000  # rows in a landed file
_NESTING = 200  # embedded lists being read to their end at once; more wait, so that little is owed


def digest(line: bytes) -> str:
    """Fingerprint of an object as landed; the warehouse keeps that text, so equal fingerprints are equal rows."""
    return hashlib.md5(line, usedforsecurity=False).hexdigest()


class Taker(Protocol):
    """What readings give pages to."""

    @property
    def row(self) -> StripeObject: ...
    def take(self, page: Page, source: str = "list") -> None: ...
    async def room(self) -> None: ...


@dataclass
class _Buffer:
    lines: list[bytes] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked_at: datetime | None = None


@dataclass
class Sink:
    """Collects pages of one object and lands them.

    Rows whose fingerprint is in `known` are not landed again; `unchanged` has their ids. What is taken is no longer
    `owed`; each landed file carries the `cursor` that holds once it is loaded.
    """

    landing: Landing
    row: StripeObject
    account_id: str
    livemode: bool
    known: Mapping[str, str] = field(default_factory=dict)
    owed: Owed = field(default_factory=Owed)
    cursor: Callable[[], dict[str, Any] | None] = lambda: None
    nest: Callable[[StripeObject, str, str], Coroutine[Any, Any, None]] | None = None  # reads (child, parent, url)
    led: Container[str] = frozenset()  # rows whose lists of other objects have been read
    on_rows: Callable[[int], None] = lambda rows: None  # told of every page
    on_landed: Callable[[], None] = lambda: None  # told of every file
    batches: list[Batch] = field(default_factory=list)
    unchanged: set[str] = field(default_factory=set)
    nested_of: Counter[str] = field(default_factory=Counter)  # rows whose lists this run reads: how many are not landed
    _buffers: dict[str, _Buffer] = field(default_factory=dict)
    _rows: int = 0
    _nesting: set[asyncio.Task[None]] = field(default_factory=set)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)  # one more embedded list has been read
    _failure: BaseException | None = None  # of the first that could not be
    _when_landed: list[Callable[[], object]] = field(default_factory=list)

    def take(self, page: Page, source: str = "list") -> None:
        """Keep what is new of a page, and begin to read embedded lists that go on beyond their first page."""
        self.on_rows(len(page.lines))
        lines = []
        for line, head in zip(page.lines, page.heads, strict=True):
            if self.owed.ids:
                self.owed.ids.pop(head.id, None)
            self._lead(head)
            # What lies beyond the first page may have changed although the object looks the same.
            if self._nested(head) or not self.known or self.known.get(head.id) != digest(line):
                lines.append(line)
            else:
                self.unchanged.add(head.id)
        if lines:
            self.add(lines, page.asked_at, {**page.request, "rows": len(lines)}, source)

    def _nested(self, head: Any) -> bool:
        goes_on = False
        for child, path in self._embedded:
            nested = getattr(head, path, None)
            if nested is not None and nested.has_more and head.id:
                goes_on = True
                self._read_list(head, child, nested.url)
        return goes_on

    def _lead(self, head: Any) -> None:
        wanted = self.row.leads_when
        if wanted and head.id not in self.led and all(getattr(head, name) == is_ for name, is_ in wanted.items()):
            for name, parameter in (self.row.leads_to or {}).items():
                self._read_list(head, CATALOGUE[name], f"{CATALOGUE[name].path}?{parameter}={head.id}")

    def _read_list(self, head: Any, child: StripeObject, url: str) -> None:
        """Until all lists of a row are landed, it is owed."""
        if self.nest:
            self.owed.ids[head.id] = getattr(head, self.row.created_field, None)
            self.nested_of[head.id] += 1
            task = asyncio.get_running_loop().create_task(self.nest(child, head.id, url))
            self._nesting.add(task)
            task.add_done_callback(self._nested_ended)

    def list_landed(self, id: str) -> None:
        """One of the lists of a row is landed; with the last of them the row is no longer owed."""
        self.nested_of[id] -= 1
        if not self.nested_of[id]:
            self.owed.ids.pop(id, None)

    @cached_property
    def _embedded(self) -> list[tuple[StripeObject, str]]:
        return [
            (row, row.parent_field) for row in CATALOGUE.values() if row.parent == self.row.name and row.parent_field
        ]

    async def room(self) -> None:
        """Wait while too many embedded lists are being read. Raises what the reading of one raised."""
        while len(self._nesting) > _NESTING or self._failure:
            await self._some_nested()

    async def settle(self) -> None:
        """Wait for the embedded lists. Raises what the reading of one raised."""
        while self._nesting or self._failure:
            await self._some_nested()

    async def _some_nested(self) -> None:
        if not self._failure:
            self._ended.clear()
            await self._ended.wait()
        if self._failure:
            raise self._failure

    def _nested_ended(self, task: asyncio.Task[None]) -> None:
        self._nesting.discard(task)
        self._failure = self._failure or (None if task.cancelled() else task.exception())
        self._ended.set()

    async def abandon(self) -> None:
        """End the reading of embedded lists, because the object's own has failed."""
        for task in self._nesting:
            task.cancel()
        await asyncio.gather(*self._nesting, return_exceptions=True)
        self._failure = None

    def add(self, lines: Iterable[bytes], asked_at: datetime, request: dict[str, Any], source: str) -> None:
        """Lines of one request; they are landed when there are enough of them."""
        buffer = self._buffers.setdefault(source, _Buffer())
        before = len(buffer.lines)
        buffer.lines += lines
        self._rows += len(buffer.lines) - before
        buffer.requests.append(request)
        buffer.asked_at = min(buffer.asked_at or asked_at, asked_at)
        if self._rows >= _FLUSH:
            self.flush()

    def complete_list(
        self, parent: str, found: list[Page], *, when_landed: Callable[[], object] | None = None, **more: Any
    ) -> None:
        """Keep all pages of one parent's list together: a half-read set is never landed, an empty one is.

        The manifest's requests say which lines are whose: `parent` and `rows`, in the order of the lines.
        """
        if when_landed:
            self._when_landed.append(when_landed)
        lines = [line for page in found for line in page.lines]
        self.on_rows(len(lines))
        request = {**found[0].request, "parent": parent, "rows": len(lines), "pages": len(found), **more}
        self.add(lines, found[0].asked_at, request, "list")

    def flush(self) -> None:
        """Land everything that was added; the last file carries the cursor."""
        buffers, self._buffers, self._rows = self._buffers, {}, 0
        settled, self._when_landed = self._when_landed, []
        for number, (source, buffer) in enumerate(buffers.items(), 1):
            assert buffer.asked_at is not None
            self.batches.append(
                self.landing.write(
                    object=self.row.name,
                    account_id=self.account_id,
                    livemode=self.livemode,
                    source=source,
                    observed_at=buffer.asked_at,
                    lines=buffer.lines,
                    requests=buffer.requests,
                    api_version=API_VERSION,
                    cursor=self.cursor() if number == len(buffers) else None,
                )
            )
        for done in settled:
            done()
        if buffers:
            self.on_landed()
