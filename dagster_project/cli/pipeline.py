"""The verbs that move data: each that runs the pipeline runs its Dagster job, so that it appears in the UI."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict

import click

from dagster_project.cli.moments import unix_seconds
from dagster_project.settings import Settings
from dagster_project.terminal import errors, say, table


@click.command()
@click.argument("objects", nargs=-1, metavar="[OBJECT]…")
@click.option("--from", "from_", metavar="DATE", help="Earliest `created`.")
@click.option("--to", metavar="DATE", help="First `created` no longer read.")
def backfill(objects: tuple[str, ...], from_: str | None, to: str | None) -> int:
    """Full history of all objects, or of some, into the build warehouse."""
    from dagster_project.stripe_api.catalog import get

    names = [get(name).name for name in objects]
    created = (unix_seconds("--from", from_), unix_seconds("--to", to)) if from_ or to else (None, None)
    return _run("backfill", objects=names or None, mode="full", created=created)


@click.command()
def refresh() -> int:
    """What changed since the last time: load, model, check, publish, send."""
    return _run("refresh", mode="incremental")


@click.command()
@click.option("--full", is_flag=True, help="Read everything again, not a sample.")
@click.option("--repair", is_flag=True, help="Read what differs again, load it, and compare it once more.")
@click.option("--requests", type=click.IntRange(1), help="Of a sample, per account; default: 500.")
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
@click.argument("objects", nargs=-1, metavar="[OBJECT]…")
def audit(full: bool, repair: bool, requests: int | None, as_json: bool, objects: tuple[str, ...]) -> int:
    """Compare the warehouse with Stripe; exit 1 on any difference that remains, listing them.

    A sample takes the days whose proof is oldest, so that samples prove every day in time.
    """
    from dagster_project.bars import Bars
    from dagster_project.stripe_api import audit as comparison
    from dagster_project.stripe_api.catalog import get
    from dagster_project.stripe_api.target import reachable
    from dagster_project.warehouse.connection import Warehouse

    settings = Settings.load()
    names = [get(name).name for name in objects] or None
    budget = requests or comparison.BUDGET
    with reachable(settings) as target, ExitStack() as stack:
        bars = None if as_json else stack.enter_context(Bars())
        report = comparison.audit(
            target, Warehouse(target.data_dir), full=full, objects=names, mend=repair, budget=budget, progress=bars
        )
    if as_json:
        click.echo(json.dumps({**asdict(report), "remaining": len(report.remaining)}, indent=2, default=str))
        return int(bool(report.remaining))
    if report.differences:
        table(
            ("object", "account", "id", "difference", "repaired"),
            [(d.object, d.account_id, d.id, d.what, d.repaired) for d in report.differences[:200]],
        )
    fixed = len(report.differences) - len(report.remaining)
    say(
        f"{report.compared:,} objects compared in {report.requests:,} requests, {len(report.differences):,} differences"
        + (f", {fixed:,} repaired, {len(report.remaining):,} remaining." if repair else ".")
    )
    share = 100 * report.proven // report.days if report.days else 100
    say(f"{report.proven:,} of {report.days:,} days (of all objects) are proven by a second reading: {share} %.")
    if fixed:
        say("`ledgerline refresh` models and publishes what was repaired.")
    return int(bool(report.remaining))


@click.command()
def rebuild() -> int:
    """The warehouse again from landing, without Stripe."""
    from dagster_project.bars import Bars
    from dagster_project.stripe_api.landing import Landing
    from dagster_project.warehouse.connection import Warehouse
    from dagster_project.warehouse.rebuild import rebuild as run

    settings = Settings.load()
    with Bars() as bars:
        run(Warehouse(settings.data_dir), Landing(settings.data_dir / "landing"), progress=bars)
    say("Rebuilt from landing. `ledgerline refresh` models and publishes it.")
    return 0


def _run(
    job: str,
    *,
    mode: str,
    objects: list[str] | None = None,
    created: tuple[int | None, int | None] = (None, None),
) -> int:
    """Run the Dagster job and say what came of it; problems of single objects are named and exit 1."""
    from dagster_project.bars import Bars
    from dagster_project.orchestration.runs import run_pipeline

    settings = Settings.load()
    began = time.monotonic()
    with Bars() as bars:
        outcome = run_pipeline(settings, job, mode=mode, objects=objects, created=created, progress=bars)
    for line in outcome.lines:
        say(line)
    for problem in outcome.problems:
        errors.print(f"Error: {problem}")
    say(f"{job}: {'finished with problems' if outcome.problems else 'done'} in {time.monotonic() - began:,.1f} s.")
    return int(bool(outcome.problems))
