"""Reading something once more from Stripe, held against the warehouse while it comes in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import duckdb
import msgspec

from dagster_project.errors import StripeAnswerError, StripePermissionError
from dagster_project.stripe_api import reading
from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.stripe_api.client import StripeClient
from dagster_project.stripe_api.comparing import Collector, Compared, listed_with
from dagster_project.stripe_api.fingerprints import NO_DAY, Known
from dagster_project.stripe_api.owed import FOREVER
from dagster_project.stripe_api.pages import compact
from dagster_project.stripe_api.proof import Unit
from dagster_project.stripe_api.standing import parents_to_ask
from dagster_project.warehouse import days
from dagster_project.warehouse.days import Key

_T = TypeVar("_T")
_ROWS = 20_000  # taken from the warehouse at a time


class Ask(Protocol):
    """Does something with the open warehouse."""

    def __call__(self, what: Callable[[duckdb.DuckDBPyConnection], _T], *, write: bool = False) -> Awaitable[_T]: ...


def prepare(con: duckdb.DuckDBPyConnection, unit: Unit, key: Key) -> Collector:
    """What the warehouse holds of a unit, ready to be compared."""
    compared: dict[str, Compared] = {}
    misfits: dict[str, Any] = {}
    filled = days.not_empty(con)
    for one in listed_with(unit.row):
        compared[one.name], misfits[one.name] = Compared(one, unit.row.name, Known(())), {}
        if one.name in filled:
            compared[one.name], misfits[one.name] = _held(con, one, unit, key)
    return Collector(unit.row, compared, misfits)


async def reread(client: StripeClient, unit: Unit, collector: Collector, key: Key, ask: Ask) -> None:
    """Give the collector what Stripe shows of a unit. Raises what the client raises."""
    row = unit.row
    if row.strategy == "singleton":
        collector.add(row, row.name, compact((await client.get(row.path or "")).body), NO_DAY)
    elif row.strategy == "per_parent":
        await _by_parent(client, collector, await ask(lambda con: parents_to_ask(con, row, key, FOREVER)))
    elif row.strategy == "chain":
        await reading.by_chain(client, collector)
    elif row.name == "accounts":
        await _accounts(client, collector, unit)
    elif await reading.by_window(client, collector, unit.ranges or [], "audit"):
        collector.keep_only(unit.ranges or [])


def _held(con: duckdb.DuckDBPyConnection, row: StripeObject, unit: Unit, key: Key) -> tuple[Compared, Any]:
    def rows() -> Any:
        found = days.known(con, row, unit.row.name, key, unit.ranges)
        while part := found.fetchmany(_ROWS):
            yield from part

    known = Known(rows())
    return Compared(row, unit.row.name, known), days.misfits(con, row)


async def _by_parent(
    client: StripeClient, collector: Collector, parents: list[tuple[str, str, dict[str, Any]]]
) -> None:
    row = collector.row

    async def one(parent: str, params: dict[str, Any]) -> None:
        query = {row.parent_param: parent, **params} if row.parent_param else params
        path = str(row.path).replace("{parent}", parent)
        try:
            found = [page async for page in reading.pages(client, row, path, query)]
        except StripeAnswerError as error:
            if error.status == 404:  # deleted since it was seen: what belonged to it cannot be read any more
                return
            raise
        collector.asked.add(parent)
        for page in found:
            collector.take(page, parent=parent)

    await reading.each(one(parent, extra) for _, parent, extra in parents)


async def _accounts(client: StripeClient, collector: Collector, unit: Unit) -> None:
    """The account itself; connected ones only where the key may list them."""
    line = compact((await client.get("/v1/account")).body)
    fields = msgspec.json.decode(line)
    made = fields.get("created")
    collector.add(collector.row, str(fields["id"]), line, NO_DAY if made is None else int(made) // 86_400)
    try:
        await reading.by_window(client, collector, unit.ranges or [], "audit")
    except (StripeAnswerError, StripePermissionError):
        collector.compared["accounts"].accept_unseen()
        collector.compared["external_accounts"].accept_unseen()
