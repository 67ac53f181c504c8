"""How each strategy of the catalogue reads objects of one account and lands them. Knows nothing of the warehouse."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from dagster_project.errors import StripeAnswerError
from dagster_project.stripe_api.catalog import API_VERSION, CATALOGUE, StripeObject
from dagster_project.stripe_api.client import Page, StripeClient
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.stripe_api.ranges import WORKERS, read_window

_FLUSH = 2_000  # rows in a landed file
_RESTARTS = 3  # of a list whose cursor died because the row that it named was deleted


def digest(line: bytes) -> bytes:
    """Fingerprint of an object as landed; the warehouse keeps that text, so equal fingerprints are equal rows."""
    return hashlib.blake2b(line, digest_size=16).digest()


@dataclass
class Sink:
    """Collects pages of one object and lands them in files of a few thousand rows.

    `ids` are those that were read; rows whose fingerprint is in `known` are not landed again.
    """

    landing: Landing
    row: StripeObject
    account_id: str
    livemode: bool
    batches: list[Batch] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    known: Mapping[str, bytes] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked_at: datetime | None = None
    continued: list[tuple[StripeObject, str, str]] = field(default_factory=list)  # child, parent id, url
    sibling: Callable[[StripeObject], Sink] | None = None  # where rows of another object go
    on_rows: Callable[[int], None] = lambda rows: None  # told of every page
    on_landed: Callable[[], None] = lambda: None  # told of every file

    def take(self, page: Page, source: str = "list") -> None:
        """Keep what is new of a page; remembers embedded lists that go on beyond their first page."""
        self.on_rows(len(page.lines))
        lines = []
        for line, head in zip(page.lines, page.heads, strict=True):
            if head.id:
                self.ids.add(head.id)
            goes_on = False
            for child, path in self._embedded:
                nested = getattr(head, path, None)
                if nested is not None and nested.has_more and head.id:
                    self.continued.append((child, head.id, nested.url))
                    goes_on = True
            # What lies beyond the first page may have changed although the object looks the same.
            if goes_on or not head.id or self.known.get(head.id) != digest(line):
                lines.append(line)
        if lines:
            self.add(lines, page.asked_at, {**page.request, "rows": len(lines)}, source)

    @cached_property
    def _embedded(self) -> list[tuple[StripeObject, str]]:
        return [
            (row, row.parent_field) for row in CATALOGUE.values() if row.parent == self.row.name and row.parent_field
        ]

    def add(self, lines: list[bytes], asked_at: datetime, request: dict[str, Any], source: str) -> None:
        self.lines += lines
        self.requests.append(request)
        self.asked_at = min(self.asked_at or asked_at, asked_at)
        if len(self.lines) >= _FLUSH:
            self.flush(source)

    def flush(self, source: str = "list") -> None:
        if self.lines and self.asked_at:
            self.batches.append(
                self.landing.write(
                    object=self.row.name,
                    account_id=self.account_id,
                    livemode=self.livemode,
                    source=source,
                    observed_at=self.asked_at,
                    lines=self.lines,
                    requests=self.requests,
                    api_version=API_VERSION,
                )
            )
            self.on_landed()
        self.lines, self.requests, self.asked_at = [], [], None

    def complete_list(self, parent: str, found: list[Page]) -> None:
        """Keep all pages of one parent's list together: a half-read set is never landed.

        The manifest's requests say which lines are whose: `parent` and `rows`, in the order of the lines.
        """
        lines = [line for page in found for line in page.lines]
        request = {**found[0].request, "parent": parent, "rows": len(lines), "pages": len(found)}
        self.add(lines, found[0].asked_at, request, "list")


async def by_window(client: StripeClient, sink: Sink, low: int, high: int, source: str = "list") -> str:
    """All objects created in [low, high]; a note when the API has no `created` filter and a plain list was read."""
    row = sink.row
    assert row.path is not None
    workers = 1 if high - low < 7 * 86_400 else WORKERS
    for params in row.lists:
        pages_read = restarts = 0

        def take(page: Page) -> None:
            nonlocal pages_read
            pages_read += 1
            sink.take(page, source)

        while True:
            try:
                await read_window(client, row, row.path, params, low, high, take, workers=workers)
                break
            except BaseExceptionGroup as group:
                error = first_of(group)
                if not isinstance(error, StripeAnswerError) or error.status not in (400, 500):
                    raise
                if not pages_read:
                    await by_chain(client, sink, source)
                    return f"no `created` filter here ({error.message}); read as one list"
                if error.status != 400 or (restarts := restarts + 1) > _RESTARTS:
                    raise
    sink.flush(source)
    return ""


def first_of(group: BaseException) -> BaseException:
    """The first real error inside nested exception groups."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


async def by_chain(client: StripeClient, sink: Sink, source: str = "list") -> None:
    """The whole list by one cursor chain."""
    row = sink.row
    assert row.path is not None
    for params in row.lists:
        restarts = 0
        while True:
            try:
                async for page in pages(client, row, row.path, params):
                    sink.take(page, source)
                break
            except StripeAnswerError as error:
                if (
                    error.status != 400
                    or "starting_after" not in error.message
                    or (restarts := restarts + 1) > _RESTARTS
                ):
                    raise
    sink.flush(source)


async def pages(client: StripeClient, row: StripeObject, path: str, params: Mapping[str, Any]) -> Any:
    """The pages of a list, following its cursor to the end."""
    after: str | None = None
    while True:
        page = await client.page(row, path, {**params, "starting_after": after})
        yield page
        if not page.has_more:
            return
        last = page.heads[-1].id
        if last is None or last == after:
            raise StripeAnswerError(
                f"{row.name}: {path} does not go on after {after}.", "Run again; nothing was skipped."
            )
        after = last


async def by_id(client: StripeClient, sink: Sink, ids: Iterable[str]) -> None:
    """Single objects again; what Stripe no longer has is landed as absent."""
    row = sink.row
    assert row.path is not None
    absent: list[bytes] = []
    asked_at = client.clock

    async def one(id: str) -> None:
        line, answer = await client.one(row, f"{row.path}/{id}")
        if line is None or answer is None:
            if row.tombstone:
                absent.append(msgspec.json.encode({"id": id, "object": row.kinds[0], "deleted": True}))
            return
        request = {"path": f"{row.path}/{id}", "request_id": answer.request_id, "rows": 1}
        sink.take(Page([line], [client.head(row, line)], False, answer.asked_at, request), "read")

    async with asyncio.TaskGroup() as group:
        for id in sorted(ids):
            group.create_task(one(id))
    sink.flush("read")
    if absent:
        sink.add(absent, asked_at, {"path": row.path, "rows": len(absent)}, "absent")
        sink.flush("absent")


async def nested(client: StripeClient, sink: Sink) -> None:
    """Embedded lists of the pages in `sink` that go on beyond the first page, read to their end."""
    seen = {(child.name, parent): (child, parent, url) for child, parent, url in sink.continued}

    async def one(child: StripeObject, parent: str, url: str) -> None:
        path, _, query = url.partition("?")
        params = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
        found = [page async for page in pages(client, child, path, params)]
        if found and found[0].lines and sink.sibling:
            sink.sibling(child).complete_list(parent, found)

    async with asyncio.TaskGroup() as group:
        for child, parent, url in seen.values():
            group.create_task(one(child, parent, url))
    for child, _, _ in seen.values():
        if sink.sibling:
            sink.sibling(child).flush()
    sink.continued.clear()


async def of_parents(client: StripeClient, sink: Sink, parents: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """A request (or chain) per parent: (parent id, further query parameters)."""
    row = sink.row
    assert row.path is not None

    async def one(parent: str, params: Mapping[str, Any]) -> None:
        path = str(row.path).replace("{parent}", parent)
        query = {row.parent_param: parent, **params} if row.parent_param else dict(params)
        try:
            found = [page async for page in pages(client, row, path, query)]
        except StripeAnswerError as error:
            if error.status == 404:  # deleted since it was seen: what belonged to it cannot be read any more
                return
            raise
        lines = [line for page in found for line in page.lines]
        if lines and params:  # several requests share the parent, so none of them is its complete set
            sink.add(lines, found[0].asked_at, found[0].request, "list")
        elif lines:
            sink.complete_list(parent, found)

    async with asyncio.TaskGroup() as group:
        for parent, params in parents:
            group.create_task(one(parent, params))
    sink.flush("list")


async def payout_batch(client: StripeClient, sink: Sink, payouts: Iterable[str]) -> None:
    """Which balance transactions each automatic payout settled: https://docs.stripe.com/payouts/reconciliation."""
    row = CATALOGUE["balance_transactions"]

    async def one(payout: str) -> None:
        found = [page async for page in pages(client, row, "/v1/balance_transactions", {"payout": payout})]
        if found and found[0].lines:
            sink.complete_list(payout, found)

    async with asyncio.TaskGroup() as group:
        for payout in payouts:
            group.create_task(one(payout))
    sink.flush()
