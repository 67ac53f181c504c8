"""How each strategy of the catalogue reads objects of one account. Knows nothing of the warehouse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from typing import Any

import msgspec

from dagster_project.errors import StripeAnswerError
from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.stripe_api.client import Page, StripeClient
from dagster_project.stripe_api.owed import Range
from dagster_project.stripe_api.ranges import WORKERS, Walk
from dagster_project.stripe_api.sink import Sink, Taker

_RESTARTS = 3  # of a list whose cursor died because the row that it named was deleted
_AT_ONCE = 64  # single reads that wait for their turn; more would only take memory


async def by_window(
    client: StripeClient, sink: Taker, ranges: list[Range], source: str = "list",
    *, left: Callable[[Callable[[], list[Range]]], None] = lambda left: None,
) -> str:  # fmt: skip
    """All objects created in `ranges`; a note when the API has no `created` filter and a plain list was read.

    `left` is given a function that says what is still missing at any time.
    """
    row = sink.row
    assert row.path is not None
    workers = WORKERS if len(ranges) > 1 or any(high - low > 7 * 86_400 for low, high in ranges) else 1
    for number, params in enumerate(row.lists, 1):
        walk = Walk(client, row, row.path, params, ranges, lambda page: sink.take(page, source), sink.room)
        if number == len(row.lists):  # until the last list, every second is still to be read
            left(walk.left)
        try:
            await walk.run(workers)
        except BaseExceptionGroup as group:
            error = first_of(group)
            refused = isinstance(error, StripeAnswerError) and error.status in (400, 500)
            if walk.pages or not refused or not isinstance(error, StripeAnswerError):
                raise error from group
            left(list)
            await by_chain(client, sink, source)
            return f"no `created` filter here ({error.message}); read as one list"
    return ""


def first_of(group: BaseException) -> BaseException:
    """The first real error inside nested exception groups."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


async def by_chain(
    client: StripeClient, sink: Taker, source: str = "list", *, after: str = "",
    reached: Callable[[str], None] = lambda id: None,
) -> None:  # fmt: skip
    """The whole list by one cursor chain, or what follows the row `after`; `reached` is told how far it has come."""
    row = sink.row
    assert row.path is not None
    for params in row.lists:
        restarts, start = 0, after
        while True:
            try:
                async for page in pages(client, row, row.path, params, after=start or None):
                    if page.has_more and len(row.lists) == 1:
                        reached(page.heads[-1].id)
                    sink.take(page, source)
                    await sink.room()
                break
            except StripeAnswerError as error:
                dead = error.status == 400 and "starting_after" in error.message
                if not dead or (restarts := restarts + 1) > _RESTARTS:
                    raise
                start = ""


async def pages(
    client: StripeClient, row: StripeObject, path: str, params: Mapping[str, Any], *, after: str | None = None
) -> AsyncIterator[Page]:
    """The pages of a list, following its cursor to the end.

    Raises StripeAnswerError for a list that goes round in circles, and what the client raises.
    """
    followed: set[str | None] = {None, after}
    while True:
        page = await client.page(row, path, {**params, "starting_after": after})
        yield page
        if not page.has_more:
            return
        after = page.heads[-1].id
        if after in followed:
            raise StripeAnswerError(
                f"{row.name}: {path} goes round in circles after {after}.", "Run again; nothing was skipped.",
                request_id=str(page.request.get("request_id") or ""),
            )  # fmt: skip
        followed.add(after)


async def each(tasks: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all, a limited number at a time. Raises an exception group; what has not begun then never does."""
    waiting = iter(tasks)

    async def work() -> None:
        for task in waiting:
            await task

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
    finally:
        for task in waiting:
            task.close()


async def by_id(
    client: StripeClient, sink: Sink, ids: Iterable[str], unknown: Callable[[str], bool] = lambda id: False
) -> None:
    """Single objects again; what Stripe no longer has is landed as absent.

    An id that Stripe does not have (yet) and that is `unknown` here stays owed: an event may be listed before its
    object is.
    """
    row = sink.row
    assert row.path is not None
    asked_at = client.clock

    async def one(id: str) -> None:
        line, answer = await client.one(row, f"{row.path}/{id}")
        if line is None or answer is None:
            if unknown(id):
                return
            sink.owed.ids.pop(id, None)
            if row.tombstone:
                gone = msgspec.json.encode({"id": id, "object": row.kinds[0], "deleted": True})
                sink.add([gone], asked_at, {"path": f"{row.path}/{id}", "rows": 1}, "absent")
            return
        request = {"path": f"{row.path}/{id}", "request_id": answer.request_id, "rows": 1}
        head = client.head(row, line)
        if head.id is None:
            raise StripeAnswerError(
                f"{row.name}: {row.path}/{id} answered with something that has no id.", "Check STRIPE_API_BASE.",
                request_id=answer.request_id,
            )  # fmt: skip
        if head.id != id:  # asked for under another name
            sink.owed.ids.pop(id, None)
        sink.take(Page([line], [head], False, answer.asked_at, request), "read")

    await each(one(id) for id in ids)


async def by_filter(client: StripeClient, sink: Sink, asked: Iterable[tuple[int, str]]) -> None:
    """What the list shows of single seconds by a value of the catalogue's filter, which is little."""
    row = sink.row

    async def one(second: int, value: str) -> None:
        exactly = {"created[gte]": second, "created[lte]": second, str(row.alone_by): value}
        async for page in pages(client, row, row.path or "", {**row.lists[0], **exactly}):
            sink.take(page)

    await each(one(second, value) for second, value in asked)


async def nested(client: StripeClient, child: StripeObject, url: str) -> list[Page]:
    """All pages of a list that an object embeds and that goes on beyond its first page, or that it leads to."""
    path, _, query = url.partition("?")
    params = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
    return [page async for page in pages(client, child, path, params)]


async def of_parents(client: StripeClient, sink: Sink, parents: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
    """A request (or chain) per parent: (key under which it is remembered, parent id, further query parameters)."""
    row = sink.row
    assert row.path is not None

    async def one(key: str, parent: str, params: Mapping[str, Any]) -> None:
        path = str(row.path).replace("{parent}", parent)
        query = {row.parent_param: parent, **params} if row.parent_param else dict(params)
        asked_at = client.clock
        try:
            found = [page async for page in pages(client, row, path, query)]
        except StripeAnswerError as error:
            if error.status != 404:
                raise
            # Deleted since it was seen: what belonged to it cannot be read any more.
            sink.add([], asked_at, {"path": path, "rows": 0, "asked": key}, "list")
            return
        if params:  # several requests share the parent, so none of them is its complete set
            lines = [line for page in found for line in page.lines]
            sink.on_rows(len(lines))
            sink.add(lines, found[0].asked_at, {**found[0].request, "rows": len(lines), "asked": key}, "list")
        else:
            sink.complete_list(parent, found, asked=key)

    await each(one(*parent) for parent in parents)
    sink.flush()
