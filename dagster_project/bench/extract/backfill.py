"""From nothing to a loaded warehouse: one object type by itself, and all of them interleaved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from dagster_project.bench.extract.local import IN_ALL, PER_ENDPOINT, Latency, LocalStripe, local_stripe
from dagster_project.bench.extract.measured import Run, loaded_alone, read_alone, synchronised
from dagster_project.bench.extract.options import Options
from dagster_project.bench.extract.truth import Truth, differences, least_seconds, truth_of
from dagster_project.bench.figures import Figure, tell

# Of a flat business 43 % are charges: this makes 200,000 of them, now and then up to 350 within one second.
ONE_TYPE_OBJECTS, ONE_TYPE = 465_300, "charges"
# A subscription business with everything that it has: 500,000 objects with their nested ones.
ALL_CUSTOMERS = 7_150


@dataclass(frozen=True)
class Backfilled:
    """A backfill of everything under Stripe's weather, the truth that it should have brought, and how it differs."""

    run: Run
    truth: Truth
    differences: list[str]


class World:
    """The businesses of one run of the benchmark, and what several of its parts need."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder, self.options = folder, options
        self._businesses = (options.keep or folder) / f"scale-{options.scale:g}"

    def figure(
        self, of: str, what: str, value: float | None, limit: float | None, unit: str = "", better: str = "less",
        note: str = "",
    ) -> Figure:  # fmt: skip
        return Figure(self.options.label, f"{of}: {what}", value, limit, unit, better, note)

    def latency(self, met: Latency) -> Figure:
        note = f"{met.least:.0f} to {met.most:.0f} ms, one request at a time; load {os.getloadavg()[0]:.1f}"
        return self.figure(
            "weather", "latency of a page as a client meets it, median", met.median, None, "ms", note=note
        )

    def one_type(self) -> AbstractContextManager[LocalStripe]:
        return self.business("one", scenario="flat", objects=self.options.scaled(ONE_TYPE_OBJECTS, 1_000))

    def all_types(self) -> AbstractContextManager[LocalStripe]:
        return self.business("all", scenario="saas", customers=self.options.scaled(ALL_CUSTOMERS, 10))

    def business(self, name: str, **size: Any) -> AbstractContextManager[LocalStripe]:
        """A simulator of a business, which is made when it is asked for the first time."""
        return local_stripe(self._businesses / name, **size, months=self.options.months)

    @property
    def measured(self) -> Backfilled | None:
        """`everything`, if some part has measured it."""
        return vars(self).get("everything")

    @cached_property
    def everything(self) -> Backfilled:
        """Without faults; what it is compared with in two parts."""
        tell("extract: making a subscription business, and reading it by the shortest way …")
        with self.all_types() as stripe:
            truth = truth_of(stripe)
            tell(f"extract: all object types, {truth.count:,} objects, in {sum(truth.plan.values()):,} requests …")
            stripe.weather()
            data = self.folder / "all-data"
            run = synchronised(stripe, data, mode="full")
            found = differences(truth, data)
            return Backfilled(run, truth, found)


def backfill(world: World) -> Iterator[Figure]:
    yield from _one_type(world)
    yield from _all_types(world)


def _one_type(world: World) -> Iterator[Figure]:
    tell("extract: making a flat business, and reading its charges by the shortest way …")
    with world.one_type() as stripe:
        truth = truth_of(stripe, only=ONE_TYPE)
        endpoint, least = next(iter(truth.plan.items()))
        tell(f"extract: {ONE_TYPE}, {truth.count:,} objects …")
        yield world.latency(stripe.weather())
        data = world.folder / "one-data"
        run = synchronised(stripe, data, objects=[ONE_TYPE], mode="full")
        found = differences(truth, data)
    asked = run.traffic["requests"][endpoint]
    first, last = run.traffic["spans"][endpoint]
    of = partial(world.figure, f"one type ({ONE_TYPE}, {truth.count:,})")
    note = f"{asked:,} requests in {last - first:.1f} s; with start and loading {run.seconds:.1f} s"
    share = least / (last - first) / PER_ENDPOINT
    yield of(f"least requests in the time of the list, of {PER_ENDPOINT:g}/s", 100 * share, 90, "%", "more", note)
    yield of("requests / least", asked / least, 1.10, note=_refused(run))
    yield of("differences from the truth", len(found), 0, note="; ".join(found))


def _all_types(world: World) -> Iterator[Figure]:
    done = world.everything
    run, truth = done.run, done.truth
    plan, thousands = sum(truth.plan.values()), truth.count / 1000
    least = least_seconds(truth.plan, IN_ALL, PER_ENDPOINT)
    busiest, most = truth.plan.most_common(1)[0]
    of = partial(world.figure, f"all types ({truth.count:,})")
    note = f"{least:.1f} s for {plan:,} requests, {most:,} of them {busiest}; took {run.seconds:.1f} s"
    yield of("least time that both limits allow / time until loaded", 100 * least / run.seconds, 85, "%", "more", note)
    yield of("objects per second", truth.count / run.seconds, None, "/s")
    note = f"{run.requests:,} requests; {_refused(run)}; {_dearer(run, truth)}"
    yield of("requests / cheapest plan", run.requests / plan, None, note=note)
    yield of("differences from the truth", len(done.differences), 0, note="; ".join(done.differences))
    yield of("problems told", len(run.problems), 0, note="; ".join(run.problems))
    tell("extract: the same without loading, and loading alone …")
    with world.all_types() as stripe:
        stripe.calm()
        reading, loading = (
            read_alone(stripe, world.folder / "read-data"),
            loaded_alone(stripe, world.folder / "all-data"),
        )
    yield of("CPU per 1,000 objects", 1000 * run.cpu_s / thousands, 60, "ms", note="of the whole process")
    yield of("CPU of reading and landing alone, per 1,000", 1000 * reading.cpu_s / thousands, None, "ms")
    yield of("CPU of loading alone, per 1,000", 1000 * loading.cpu_s / thousands, None, "ms", note="a rebuild")
    yield of("peak memory", run.peak_mb, 1200, "MB")
    yield of("peak memory of extraction alone", reading.peak_mb, 300, "MB", note=f"{reading.rows:,} rows landed")


def _refused(run: Run) -> str:
    limited = run.traffic["limited"]
    told = ", ".join(f"{number:,} {reason}" for reason, number in limited.items())
    return f"429s: {told or 'none'}; at most {run.traffic['most_in_flight']} in flight"


def _dearer(run: Run, truth: Truth) -> str:
    """The endpoints that were asked most above the plan."""
    over = {name: number - truth.plan[name] for name, number in run.traffic["requests"].items()}
    named = sorted(over, key=lambda name: -over[name])[:4]
    return "above the plan: " + ", ".join(f"{name} {over[name]:+,}" for name in named)
