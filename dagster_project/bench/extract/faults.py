"""Every tenth request fails: a 500, a reset connection or a body cut short, in equal parts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dagster_project.bench.extract.backfill import World
from dagster_project.bench.extract.measured import synchronised
from dagster_project.bench.extract.truth import differences
from dagster_project.bench.figures import Figure, tell

RATE = 0.10


def faults(world: World) -> Iterator[Figure]:
    calm = world.everything
    tell(f"extract: all object types again, {100 * RATE:.0f} % of requests failing …")
    with world.all_types() as stripe:
        stripe.weather(error_rate=RATE / 3, reset_rate=RATE / 3, truncate_rate=RATE / 3)
        data = world.folder / "faults-data"
        run = synchronised(stripe, data, mode="full")
        found = differences(calm.truth, data)
    of = partial(world.figure, f"{100 * RATE:.0f} % 500s, resets, cut bodies")
    yield of("differences from the truth", len(found), 0, note="; ".join(found))
    yield of("problems told", len(run.problems), 0, note="; ".join(run.problems))
    note = f"{run.seconds:.1f} s, {run.requests:,} requests"
    yield of("time / time without them", run.seconds / calm.run.seconds, 1.5, note=note)
