"""The verbs that move data: each that runs the pipeline runs its Dagster job, so that it appears in the UI."""

from __future__ import annotations

import json
import time
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
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
@click.argument("objects", nargs=-1, metavar="[OBJECT]…")
def audit(full: bool, as_json: bool, objects: tuple[str, ...]) -> int:
    """Compare the warehouse with Stripe; exit 1 on any difference, listing them."""
    from dagster_project.stripe_api import audit as comparison
    from dagster_project.stripe_api.catalog import get
    from dagster_project.stripe_api.target import reachable
    from dagster_project.terminal import Bars
    from dagster_project.warehouse.connection import Warehouse

    settings = Settings.load()
    names = [get(name).name for name in objects] or None
    with reachable(settings) as target:
        warehouse = Warehouse(target.data_dir)
        if as_json:
            report = comparison.audit(target, warehouse, full=full, objects=names)
        else:
            with Bars() as bars:
                report = comparison.audit(target, warehouse, full=full, objects=names, progress=bars)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2, default=str))
    else:
        if report.differences:
            table(
                ("object", "account", "id", "difference"),
                [(d.object, d.account_id, d.id, d.what) for d in report.differences[:200]],
            )
        say(f"{report.compared:,} objects compared, {len(report.differences):,} differences.")
    return int(bool(report.differences))


@click.command()
def rebuild() -> int:
    """The warehouse again from landing, without Stripe."""
    from dagster_project.stripe_api.landing import Landing
    from dagster_project.terminal import Bars
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
    from dagster_project.orchestration.runs import run_pipeline
    from dagster_project.terminal import Bars

    settings = Settings.load()
    began = time.monotonic()
    with Bars() as bars:
        outcome = run_pipeline(settings, job, mode=mode, objects=objects, created=created, progress=bars)
    for line in outcome.lines:
        say(line)
    for problem in outcome.problems:
        errors.print(f"Error: {problem}", markup=False)
    say(f"{job}: {'finished with problems' if outcome.problems else 'done'} in {time.monotonic() - began:,.1f} s.")
    return int(bool(outcome.problems))
