"""What leaves the system: what would be sent, what was, again, and the loop that delivers."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import datetime

import click

from dagster_project.settings import Settings
from dagster_project.terminal import say, table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def plan(as_json: bool) -> int:
    """What would be sent now; sends and records nothing."""
    from dagster_project.activation.plan import plan as make
    from dagster_project.ops.database import open_ops

    settings = Settings.load()
    report = make(settings, open_ops(settings), dry_run=True)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2, default=str))
    else:
        for line in report.lines():
            say(line)
    return 0


@click.command()
@click.option("--state", help="Only effects in this state: ready, waiting, delivered, dead, unsure …")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def effects(state: str | None, limit: int, as_json: bool) -> int:
    """What was sent, what waits, what failed."""
    from dagster_project.activation.overview import effects as listing
    from dagster_project.activation.overview import overview
    from dagster_project.ops.database import open_ops

    settings = Settings.load()
    engine = open_ops(settings)
    rows = listing(engine, state=state, limit=limit)
    if as_json:
        click.echo(json.dumps(rows, indent=2, default=str))
        return 0
    columns = ("id", "route", "dest", "key", "state", "planned", "sent", "acknowledged", "error")
    table(columns, [[_short(row.get(column)) for column in columns] for row in rows])
    say()
    totals = overview(engine)
    if totals:
        table(tuple(totals[0]), [tuple(row.values()) for row in totals])
    return 0


def _short(value: object) -> object:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else value


@click.command()
@click.argument("effect_id")
@click.option(
    "--it-did-not-happen",
    is_flag=True,
    help="You checked at the destination: send as a new effect. Without it the same effect is tried again.",
)
def replay(effect_id: str, it_did_not_happen: bool) -> int:
    """Try a dead or unsure effect again."""
    from dagster_project.activation.deliver import deliver
    from dagster_project.activation.overview import replay as again
    from dagster_project.ops.database import open_ops

    settings = Settings.load()
    engine = open_ops(settings)
    say(f"Effect {again(engine, effect_id, happened=not it_did_not_happen)} is ready.")
    report = deliver(settings, engine)
    say(f"{report.delivered} delivered, {report.waiting} waiting, {report.dead} dead, {report.unsure} unsure.")
    return int(bool(report.dead or report.unsure))


@click.command()
@click.option("--once", is_flag=True, help="One pass, then stop.")
def worker(once: bool) -> int:
    """Deliver due effects within a second, beside the Dagster sensors."""
    from dagster_project.activation.deliver import deliver
    from dagster_project.ops.database import open_ops

    settings = Settings.load()
    engine = open_ops(settings)
    while True:
        report = deliver(settings, engine)
        if report.delivered or report.dead or report.unsure:
            say(f"{report.delivered} delivered, {report.dead} dead, {report.unsure} unsure")
        if once:
            return int(bool(report.dead or report.unsure))
        time.sleep(0.5)
