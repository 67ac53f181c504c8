"""Rows that did not look alike at once: what of it is a difference, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import msgspec

from dagster_project.stripe_api import reading
from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.stripe_api.client import StripeClient
from dagster_project.stripe_api.comparing import Collector, Compared
from dagster_project.stripe_api.fingerprints import NO_DAY, fingerprint, plain
from dagster_project.stripe_api.rereading import Ask
from dagster_project.warehouse import days
from dagster_project.warehouse.days import Key


@dataclass(frozen=True)
class Finding:
    """A difference: `parent` is what must be read to see the row again, in the list of `via`; `kind` is missing,
    changed, deleted (here alone), gone (at Stripe alone), misfit (columns against payload) or unreadable."""

    row: StripeObject
    via: str
    id: str
    kind: str
    what: str
    parent: str = ""
    day: int = NO_DAY


async def judge(client: StripeClient, collector: Collector, key: Key, ask: Ask) -> list[Finding]:
    """The differences of what `collector` took, each told in words. Counts what proves to be equal."""
    found: list[Finding] = []
    own = collector.compared[collector.row.name]
    found += await _unlisted(client, collector, own, key, ask)
    await _continued(client, collector)
    gone = {one.id for one in found}
    for one in collector.compared.values():
        if one.unsure:
            found += await ask(partial(_unsure, one=one, key=key))
        if one is not own:
            left = one.known.unseen()
            rows = await ask(partial(days.named, row=one.row, via=one.via, key=key, hashes=left)) if left else []
            found += [
                _finding(one, "gone", id, "is no longer in its parent at Stripe", parent, day)
                for id, parent, day in rows
                if parent not in gone
            ]
        named = {finding.id for finding in found if finding.row is one.row}
        for id, fields in collector.misfits[one.row.name].items():
            at = one.known.find(id)
            if id not in named and at is not None and one.known.seen[at]:
                what = f"has columns that do not say what Stripe sent: {', '.join(fields)}"
                found.append(_finding(one, "misfit", id, what, one.parents.get(id, id), one.known.days[at]))
    return found


def _finding(one: Compared, kind: str, id: str, what: str, parent: str, day: int | None) -> Finding:
    return Finding(one.row, one.via, id, kind, what, parent or id, NO_DAY if day is None else day)


async def _unlisted(
    client: StripeClient, collector: Collector, own: Compared, key: Key, ask: Ask
) -> list[Finding]:  # fmt: skip
    """Rows that the list did not show: each is read by its id, because lists hide some."""
    left = own.known.unseen()
    if not left:
        return []
    row, found = own.row, list[Finding]()
    rows = await ask(lambda con: days.named(con, row, own.via, key, left))

    async def one(id: str, day: int | None) -> None:
        line, _ = await client.one(row, f"{row.path}/{id}")
        if line is None or msgspec.json.decode(line).get("deleted"):
            found.append(_finding(own, "gone", id, "is gone at Stripe and not deleted in the warehouse", id, day))
        else:
            collector.add(row, id, line, NO_DAY if day is None else day)

    if row.strategy == "per_parent":
        for id, parent, day in rows:
            if parent in collector.asked:
                found.append(_finding(own, "gone", id, "is no longer in its parent's list at Stripe", parent, day))
            else:
                own.accept(id)
    else:
        await reading.each(one(id, day) for id, _, day in rows)
    return found


async def _continued(client: StripeClient, collector: Collector) -> None:
    """Embedded lists that went on, read to their end."""

    async def one(child: StripeObject, parent: str, day: int, url: str) -> None:
        for page in await reading.nested(client, child, url):
            for line in page.lines:
                collector.add_child(child, collector.row, parent, line, day, parent)
            collector.compared[child.name].answers[day] += 1

    waiting, collector.continued = collector.continued, []
    await reading.each(one(child, inside.parent, inside.day, url) for child, inside, url in waiting)


def _unsure(con: duckdb.DuckDBPyConnection, one: Compared, key: Key) -> list[Finding]:
    """Rows whose text was not the same: equal ones are counted, whatever the order of their keys."""
    held: dict[str, tuple[str, bool]] = {
        id: (payload, deleted)
        for id, payload, deleted in con.execute(
            f"select id, _payload::varchar, _deleted_at is not null from stripe.{one.row.name} "
            "where account_id = ? and livemode = ? and id in (select unnest(?::varchar[]))",
            [*key, list(one.unsure)],
        ).fetchall()
    }
    found = []
    for id, shown in one.unsure.items():
        payload, deleted = held.get(id, ("", False))
        kind, what = _how(one, id, shown.line, payload, deleted)
        one.count(shown.day, fingerprint(one.row, payload.encode() if kind in ("", "misfit") else shown.line))
        if kind:
            found.append(_finding(one, kind, id, what, shown.parent, shown.day))
    return found


def _how(one: Compared, id: str, line: bytes, payload: str, deleted: bool) -> tuple[str, str]:
    if not payload:
        return "missing", "is missing in the warehouse"
    if deleted:
        return "deleted", "is deleted in the warehouse and exists at Stripe"
    here, there = _content(one, payload), _content(one, line)
    if fields := [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]:
        return "changed", f"differs in {', '.join(fields)}"
    if one.known.find(id) is None:
        return "misfit", "has columns that put it on another day or to another parent"
    return "", ""


def _content(one: Compared, text: bytes | str) -> dict[str, Any]:
    return plain(one.row, text)


__all__ = ["Finding", "judge"]
