"""Refreshes of a large warehouse: nothing changed, changes over four object types, changes of one.

The warehouse is filled as fast as both sides can, without weather. Changes are real calls of Stripe's API, spread
evenly over the whole history, which is the dearest way for them to lie; new objects are at its end.
"""

from __future__ import annotations

import http.client
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from dagster_project.bench.extract.backfill import World
from dagster_project.bench.extract.local import PAGE, LocalStripe
from dagster_project.bench.extract.measured import Run, synchronised
from dagster_project.bench.extract.truth import pages
from dagster_project.bench.figures import Figure, tell
from dagster_project.errors import LedgerlineError
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.warehouse.connection import Warehouse

OBJECTS, CHANGES = 1_000_000, 1_000
FOUR = ("charges", "customers", "payment_intents", "refunds")
ONE = ("charges",)
NEW = "payment_intents"
_APART_S = 3600  # by Stripe's clock, between two refreshes

# Lists in which rows appear without an event: each must be asked for at every refresh. No pending balance transaction
# is due: none turns available before its `available_on`, and the clock does not get there.
SWEPT = Counter(
    {
        f"GET {row.path}": len(row.lists)
        for row in CATALOGUE.values()
        if row.strategy == "window" and row.name not in ("events", "accounts")
        and (row.silent or (not row.events and not row.relist_hours))
    }
)  # fmt: skip

Changed = Mapping[str, Sequence[str]]


def incremental(world: World) -> Iterator[Figure]:
    objects = world.options.scaled(OBJECTS, 1_000)
    data = world.folder / "large-data"
    tell(f"extract: making a flat business of {objects:,} objects …")
    with world.business("large", scenario="flat", objects=objects) as stripe:
        tell("extract: filling a warehouse with it, without latency or limits …")
        run = synchronised(stripe, data, paced=False, mode="full")
    note = f"{run.seconds:.0f} s, {1e6 * run.cpu_s / objects:.0f} ms of CPU per 1,000"
    yield world.figure(f"filling with {objects:,}", "peak memory", run.peak_mb, 1200, "MB", note=note)
    with world.business("large", scenario="flat", objects=objects) as stripe:
        yield from _nothing(world, stripe, data, objects)
        number = world.options.scaled(CHANGES, 20)
        yield from _changes(world, stripe, data, objects, FOUR, number, limit_s=15)
        yield from _changes(world, stripe, data, objects, ONE, number, limit_s=25)


def _nothing(world: World, stripe: LocalStripe, data: Path, objects: int) -> Iterator[Figure]:
    stripe.wait(_APART_S)
    yield world.latency(stripe.weather())
    tell("extract: a refresh when nothing changed …")
    run = synchronised(stripe, data)
    asked: Counter[str] = Counter(run.traffic["requests"])
    others = asked - SWEPT  # what a sweep takes beyond what was due counts, too
    of = partial(world.figure, f"nothing changed in {objects:,}")
    yield of("requests besides sweeps that are due", others.total(), 5, note=f"{_named(others)}; all: {_named(asked)}")
    yield of("until loaded", run.seconds, None, "s", note=_busy(run))
    yield of("peak memory", run.peak_mb, 1200, "MB")


def _changes(
    world: World, stripe: LocalStripe, data: Path, objects: int, names: Sequence[str], number: int, *, limit_s: float
) -> Iterator[Figure]:
    stripe.calm()
    mark = f"change {time.time_ns()}"
    changed = _change(stripe, names, number, mark)
    plan = cheapest(stripe, changed)
    stripe.wait(_APART_S)
    stripe.weather()
    tell(f"extract: a refresh after {number:,} changes of {', '.join(names)} …")
    run = synchronised(stripe, data)
    missed = _missed(data, changed, mark)
    of = partial(world.figure, f"{number:,} changes of {len(names)} types in {objects:,}".replace("1 types", "1 type"))
    yield of("until loaded", run.seconds, limit_s, "s", note=_busy(run))
    least, asked = sum(plan.values()), dict[str, int](run.traffic["requests"])
    note = f"{run.requests:,} / {least:,}; plan: {_named(plan)}; asked: {_named(asked)}"
    yield of("requests / cheapest plan", run.requests / least, 1.3, note=note)
    yield of("not in the warehouse", missed, 0)
    yield of("peak memory", run.peak_mb, 1200, "MB")


def _change(stripe: LocalStripe, names: Sequence[str], number: int, mark: str) -> Changed:
    """Write `mark` into the metadata of so many objects, each of which Stripe announces by an event.

    No event tells that a payment intent got another metadata, so of these new ones are made.
    """
    dice = random.Random(mark)  # noqa: S311
    changed = {}
    with stripe.truth() as con:
        for place, name in enumerate(names):
            share = number // len(names) + (place < number % len(names))
            if name == NEW:
                changed[name] = _make(stripe, share, mark)
                continue
            rows = con.execute("select id from object where kind = ? and gone = 0", [CATALOGUE[name].kind]).fetchall()
            changed[name] = [one for (one,) in dice.sample(rows, min(share, len(rows)))]
    todo = [f"{CATALOGUE[name].path}/{one}" for name, ids in changed.items() if name != NEW for one in ids]
    _post(stripe, todo, {"metadata[note]": mark})
    return changed


def _make(stripe: LocalStripe, number: int, mark: str) -> list[str]:
    path = str(CATALOGUE[NEW].path)
    return _post(stripe, [path] * number, {"amount": "1900", "currency": "usd", "metadata[note]": mark})


def _post(stripe: LocalStripe, paths: Sequence[str], params: Mapping[str, str]) -> list[str]:
    """The ids of what comes back."""
    headers = {"Authorization": "Bearer sk_simulator", "Content-Type": "application/x-www-form-urlencoded"}
    ids = []
    with closing(http.client.HTTPConnection("127.0.0.1", stripe.port, timeout=60)) as connection:
        for path in paths:
            connection.request("POST", path, urlencode(params), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise LedgerlineError(f"POST {path}: {answer.status} {text[:200]!r}", "Mend it first.")
            ids.append(str(json.loads(text)["id"]))
    return ids


def cheapest(stripe: LocalStripe, changed: Changed) -> Counter[str]:
    """Requests per endpoint of the cheapest refresh, from where the changed objects lie at Stripe.

    A request reads one object, or a page of a list that holds it. So the fewest that cover all changed ones are found
    by going down the list and starting a page of 100 at each that no page covers yet; one that is alone on its page
    counts as a single read. Besides: the account, its balance, the events, and each list once that must be swept.
    """
    plan: Counter[str] = Counter({"GET /v1/account": 1, "GET /v1/balance": 1})
    plan["GET /v1/events"] += pages(sum(map(len, changed.values())))
    with stripe.truth() as con:
        for name, ids in changed.items():
            row, wanted = CATALOGUE[name], set(ids)
            listed = con.execute(
                "select id from object where kind = ? and gone = 0 order by created desc, seq desc", [row.kind]
            )
            for alone in _pages_over([place for place, (one,) in enumerate(listed) if one in wanted]):
                plan[f"GET {row.path}/{{id}}" if alone else f"GET {row.path}"] += 1
    return plan + SWEPT


def _pages_over(places: Sequence[int]) -> Iterator[bool]:
    """The fewest pages that cover all places, each as whether it covers only one."""
    start, covered = -PAGE, 0
    for place in places:
        if place >= start + PAGE:
            if covered:
                yield covered == 1
            start, covered = place, 0
        covered += 1
    if covered:
        yield covered == 1


def _missed(data: Path, changed: Changed, mark: str) -> int:
    """Changed objects that the warehouse does not show as they are now."""
    missed = 0
    with Warehouse(data).connect(read_only=True) as con:
        for name, ids in changed.items():
            found = con.execute(
                f"select count(*) from stripe.{name} where id in (select unnest(?::varchar[])) "
                "and (metadata ->> '$.note') = ? and _deleted_at is null",
                [list(ids), mark],
            ).fetchone()
            missed += len(ids) - (found[0] if found else 0)
    return missed


def _busy(run: Run) -> str:
    return f"{run.sync_s:.1f} s without Python's start, {run.cpu_s:.1f} s of CPU, {run.requests - _ok(run):,} refused"


def _ok(run: Run) -> int:
    return int(run.traffic["statuses"].get("200", 0))


def _named(asked: Mapping[str, int]) -> str:
    """The busiest endpoints, and all others together."""
    most = sorted(asked, key=lambda name: -asked[name])
    named = [f"{name.removeprefix('GET /v1')} {asked[name]:,}" for name in most[:6]]
    rest = sum(asked[name] for name in most[6:])
    return ", ".join([*named, *([f"{len(most) - 6} others {rest:,}"] if rest else [])]) or "none"
