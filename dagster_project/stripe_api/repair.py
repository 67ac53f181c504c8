"""What differs, read again and loaded in the ordinary way: landed first, so that a rebuild knows it too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import duckdb
import msgspec

from dagster_project.stripe_api import reading
from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.stripe_api.client import Page, StripeClient
from dagster_project.stripe_api.differing import Finding
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.pages import compact
from dagster_project.stripe_api.rereading import Ask
from dagster_project.stripe_api.sink import Sink
from dagster_project.stripe_api.standing import parents_to_ask
from dagster_project.warehouse import days
from dagster_project.warehouse.days import Key
from dagster_project.warehouse.load import load


async def repair(client: StripeClient, landing: Landing, key: Key, found: Sequence[Finding], ask: Ask) -> None:
    """Read again what `found` names, land it, load it. Rows that are gone at Stripe become tombstones.

    Raises what the client raises; what was landed by then is loaded by the next run.
    """
    sinks: dict[str, Sink] = {}

    def sink(row: StripeObject) -> Sink:
        if row.name not in sinks:
            sinks[row.name] = Sink(landing, row, *key, nest=nest)
        return sinks[row.name]

    async def nest(child: StripeObject, parent: str, url: str) -> None:
        sink(child).complete_list(parent, await reading.nested(client, child, url))

    by_list: dict[str, list[Finding]] = {}
    for one in found:
        if one.kind != "unreadable":
            by_list.setdefault(one.via, []).append(one)
    for via, findings in by_list.items():
        row = CATALOGUE[via]
        gone = {one.id for one in findings if one.kind == "gone" and one.row.name == via}
        wanted = {one.parent for one in findings} - gone
        if row.strategy == "singleton":
            await _only(client, sink(row), row.path or "")
        elif row.strategy == "per_parent":
            parents = await ask(partial(parents_to_ask, row=row, key=key, now=None))
            await reading.of_parents(client, sink(row), [one for one in parents if one[1] in wanted])
        else:
            if via == "accounts" and key[0] in wanted:
                await _only(client, sink(row), "/v1/account")
                wanted.remove(key[0])
            await reading.by_id(client, sink(row), wanted)
        await sink(row).settle()
        for id in gone:
            _absent(client, sink(row), id)
    for made in sinks.values():
        made.flush()
    await ask(lambda con: _load(con, sinks, key, found), write=True)


async def _only(client: StripeClient, sink: Sink, path: str) -> None:
    """What a key has one of: its account and the balance, which has no id."""
    answer = await client.get(path)
    line, request = compact(answer.body), {"path": path, "request_id": answer.request_id, "rows": 1}
    sink.take(Page([line], [client.head(sink.row, line)], False, answer.asked_at, request), "read")


def _absent(client: StripeClient, sink: Sink, id: str) -> None:
    gone = msgspec.json.encode({"id": id, "object": sink.row.kinds[0], "deleted": True})
    sink.add([gone], client.clock, {"path": f"{sink.row.path}/{id}", "rows": 1}, "absent")


def _load(con: duckdb.DuckDBPyConnection, sinks: dict[str, Sink], key: Key, found: Sequence[Finding]) -> None:
    """Wrong rows make room first: one with the right payload in wrong columns would count as known. Others become old,
    because what was observed later, or a tombstone of the same second, would count as newer; they stay, because what
    replaces them moves them into the history."""
    for one in found:
        row = f"stripe.{one.row.name}"
        if one.kind == "misfit":
            con.execute(f"delete from {row} where account_id = ? and livemode = ? and id = ?", [*key, one.id])
        elif one.kind in ("changed", "deleted"):
            con.execute(
                f"update {row} set _observed_at = to_timestamp(0) where account_id = ? and livemode = ? and id = ?",
                [*key, one.id],
            )
    for name in ["events", *(name for name in CATALOGUE if name != "events")]:
        if name in sinks and sinks[name].batches:
            load(con, name, sinks[name].batches, {})
    days.update(con)
