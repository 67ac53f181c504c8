"""What a newcomer waits for: the demo from nothing, then refreshes of it."""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.bench.commands import timed
from dagster_project.bench.figures import Figure, tell


def demo(environment: dict[str, str]) -> Iterator[Figure]:
    tell("demo: a business of 1,500 customers over 24 months, from nothing …")
    seconds, first, peak = timed(environment, "demo")
    yield Figure("demo", "in all", seconds, 120, "s")
    yield Figure("demo", "first line", first, 5, "s")
    yield Figure("demo", "peak memory of all processes", peak, 2048, "MB")


def refresh(environment: dict[str, str]) -> Iterator[Figure]:
    """Needs the data directory that `demo` filled."""
    tell("refresh: nothing new, then one simulated day …")
    timed(environment, "refresh")
    seconds, _, _ = timed(environment, "refresh")
    yield Figure("refresh", "nothing new", seconds, 10, "s")
    timed(environment, "simulator", "advance", "--days", "1")
    seconds, _, _ = timed(environment, "refresh")
    yield Figure("refresh", "after one simulated day", seconds, 60, "s")
