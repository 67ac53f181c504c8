"""What the history tables must hold: worked out from the local Stripe's own events, one object after the other."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.warehouse.connection import Warehouse
from whole.local_stripe import Json, LocalStripe


@dataclass(frozen=True)
class Version:
    """`at` and `until` in Unix seconds."""

    at: int
    until: int | None
    exact: bool
    content: str


def wrong_versions(warehouse: Warehouse, stripe: LocalStripe) -> list[str]:
    """In words, where a history differs from what the known events and the re-reads between them say."""
    wrong: list[str] = []
    with warehouse.connect(read_only=True) as con:
        known = {id for (id,) in con.execute("select id from stripe.events").fetchall()}
        events = [event for event in stripe.events() if event["id"] in known]
        for row in CATALOGUE.values():
            if row.history:
                held: dict[str, list[Version]] = defaultdict(list)
                for id, payload, at, until, exact in con.execute(
                    "select id, _payload::varchar, valid_from, valid_to, _valid_from_is_exact "
                    f"from stripe.{row.name}_history order by id, valid_from"
                ).fetchall():
                    held[id].append(Version(_unix(at), _unix(until) if until else None, exact, _content(row, payload)))
                told = _told(row, events)
                for id in sorted({*held, *told}):
                    wrong += [f"{row.name}_history {id}: {what}" for what in _compared(held[id], told.get(id, {}))]
                current = dict(
                    con.execute(
                        f"select id, _payload::varchar from stripe.{row.name} where _deleted_at is null"
                    ).fetchall()
                )
                for id, payload in current.items():
                    if not held[id]:
                        wrong.append(f"{row.name}_history {id}: no version at all")
                    elif held[id][-1].content != _content(row, payload):
                        wrong.append(f"{row.name}_history {id}: the last version is not the current row")
                    elif held[id][-1].until is not None:
                        wrong.append(f"{row.name}_history {id}: the last version of a living row has ended")
    return wrong


def _told(row: StripeObject, events: list[Json]) -> dict[str, dict[int, str]]:
    """What events say an object was at the end of a second: id -> second -> content."""
    told: dict[str, dict[int, str]] = defaultdict(dict)
    for event in events:
        for one in _carried(row, event["data"]["object"]):
            told[one["id"]][event["created"]] = _content(row, one)
    return told


def _carried(row: StripeObject, body: Json) -> Iterator[Json]:
    if row.name == "subscription_items":
        if body["object"] == "subscription":
            yield from body["items"]["data"]
    elif body["object"] in row.kinds and body.get("id"):
        yield body


def _compared(held: list[Version], told: dict[int, str]) -> Iterator[str]:
    for one, after in itertools.pairwise(held):
        if one.content == after.content and one.until == after.at:
            yield f"two versions in a row are the same, at {one.at} and {after.at}"
        if one.until is None or one.until > after.at:
            yield f"the version of {one.at} reaches into that of {after.at}"
    for one in held:
        if one.until is not None and one.until <= one.at:
            yield f"the version of {one.at} ends before it begins"
    # Re-reads are taken as they are; each event must then be where, and only where, it says something new.
    seen = {one.at: (one.content, False) for one in held if not one.exact}
    seen |= {at: (content, True) for at, content in told.items()}
    expected, last = [], None
    for at in sorted(seen):
        content, exact = seen[at]
        if content != last:
            expected.append((at, exact))
        last = content
    found = [(one.at, one.exact) for one in held]
    if found != expected:
        yield f"versions at {_few(found, expected)}, and events tell {_few(expected, found)}"
        return
    for one in held:
        if one.content != seen[one.at][0]:
            yield f"the version of {one.at} is not what was told then"


def _few(these: list[tuple[int, bool]], others: list[tuple[int, bool]]) -> str:
    only = [f"{at}{'' if exact else ' (a re-read)'}" for at, exact in these if (at, exact) not in others]
    return f"{', '.join(only[:4])} alone" if only else "nothing more"


def _content(row: StripeObject, body: str | Json) -> str:
    """What events and reads both tell of an object: lists by their ids, expanded objects by theirs."""
    one = json.loads(body) if isinstance(body, str) else body
    asked = {name for name in row.expand if "." not in name} - {"discounts"}
    return json.dumps({n: _plain(value) for n, value in one.items() if n not in asked}, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("object") == "list":
            return [_plain(each) for each in value["data"]]
        return value["id"] if "id" in value and "object" in value else {n: _plain(each) for n, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _unix(moment: datetime) -> int:
    return int(moment.timestamp())
