"""`ledgerline …`: thin commands over the same functions that the assets and the receiver call.

Exit status: 0 success, 1 a failed check or run, 2 bad usage. Verbs that run the pipeline run its Dagster job in-process
on the instance in the data directory, so they appear in the UI.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

# Nothing phones home. Set before any of the libraries is imported.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")

import click

from dagster_project import __version__
from dagster_project.errors import LedgerlineError, StorageError, UsageError
from dagster_project.settings import Settings
from dagster_project.terminal import errors, say, table

_STORAGE = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ledgerline")
def cli() -> None:
    """Stripe as a warehouse that finance trusts, and as actions that other teams receive."""


def main() -> None:
    """Entry point: one clear message with the next step for every failure that a person can act on."""
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.Abort:
        errors.print("Stopped.")
        status = 130
    except click.ClickException as error:
        error.show()
        status = 2
    except LedgerlineError as error:
        _complain(error)
        status = error.exit_code
    except OSError as error:
        if error.errno not in _STORAGE:
            raise
        _complain(
            StorageError(
                f"{error.filename or 'The data directory'}: {error.strerror}.",
                "Free some space or give this user the right to write, then run the same command again.",
            )
        )
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _complain(error: LedgerlineError) -> None:
    errors.print(f"Error: {error.message}", markup=False)
    if error.next_step:
        errors.print(f"Next:  {error.next_step}", markup=False)


def _later(name: str, what: str) -> None:
    """A verb of the contract that is not there yet: it says so and exits 2."""

    @cli.command(name, help=f"{what} (not there yet).", context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        raise UsageError(f"`ledgerline {name}` is not there yet.", "See CHANGELOG.md for what is.")

    _ = command


# ---- looking ------------------------------------------------------------------------------------------------
@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def doctor(as_json: bool) -> int:
    """What works, what does not, what to do."""
    from dagster_project.doctor import examine

    settings = Settings.load()
    findings = list(examine(settings))
    failed = any(finding.state == "fail" for finding in findings)
    if as_json:
        values = [dict(zip(("name", "value", "source", "meaning"), row, strict=True)) for row in settings.table()]
        click.echo(json.dumps({"settings": values, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return int(failed)
    table(("setting", "value", "source"), [row[:3] for row in settings.table()])
    say()
    table(
        ("", "what", "finding", "next step"),
        [({"ok": "ok", "warn": "!", "fail": "FAIL"}[f.state], f.topic, f.detail, f.next_step) for f in findings],
    )
    return int(failed)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def status(as_json: bool) -> int:
    """Age, completeness, ties and what waits, in one screen."""
    from dagster_project.summary import headline, read_status, show_status

    settings = Settings.load()
    report = read_status(settings)
    if as_json:
        click.echo(json.dumps({**report, "headline": headline(settings)}, indent=2, default=str))
    else:
        show_status(report)
    return 0 if report["ok"] else 1


# ---- the pipeline -------------------------------------------------------------------------------------------
@cli.command()
@click.argument("objects", nargs=-1, metavar="[OBJECT]…")
@click.option("--from", "from_", metavar="DATE", help="Earliest `created`.")
@click.option("--to", metavar="DATE", help="First `created` no longer read.")
def backfill(objects: tuple[str, ...], from_: str | None, to: str | None) -> int:
    """Full history of all objects, or of some, into the build warehouse."""
    from dagster_project.stripe_api.catalog import get

    names = [get(name).name for name in objects]
    created = (_date("--from", from_), _date("--to", to)) if from_ or to else (None, None)
    return _run("backfill", objects=names or None, mode="full", created=created)


@cli.command()
def refresh() -> int:
    """What changed since the last time: load, model, check, publish, send."""
    return _run("refresh", mode="incremental")


@cli.command()
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


@cli.command()
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


def _date(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text!r} is no date.", "Use an ISO date such as 2026-01-31.") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


# ---- the local Stripe ---------------------------------------------------------------------------------------
@cli.group(invoke_without_command=True)
@click.option("--port", type=click.IntRange(1, 65535), help="Default: LEDGERLINE_SIMULATOR_PORT.")
@click.option("--scenario", metavar="NAME", help="saas (default), marketplace, usage, global, chaos or flat.")
@click.option("--customers", type=int, help="10 to 20,000; default: 1500, or the business that is there.")
@click.option("--objects", type=int, help="Of flat, which has volume alone; default: 1,000,000.")
@click.option("--months", type=int, help="1 to 120; default: 24, or the business that is there.")
@click.option("--seed", type=int, help="Default: 7, or the business that is there.")
@click.option("--rate-limit", type=click.IntRange(1), help="Requests per second in all; default: none.")
@click.option("--latency-ms", type=click.IntRange(0), default=0, show_default=True)
@click.option("--faults", multiple=True, metavar="NAME=VALUE|JSON", help="Trouble, e.g. error_rate=0.01; repeatable.")
@click.option("--api-version", metavar="VERSION", help="The account's, e.g. 2022-11-15: how its events look.")
@click.option("--reset", is_flag=True, help="Forget the business and make it anew.")
@click.pass_context
def simulator(
    context: click.Context,
    port: int | None,
    scenario: str | None,
    customers: int | None,
    objects: int | None,
    months: int | None,
    seed: int | None,
    rate_limit: int | None,
    latency_ms: int,
    faults: tuple[str, ...],
    api_version: str | None,
    reset: bool,
) -> int:
    """Serve the local Stripe in the foreground."""
    if context.invoked_subcommand:
        return 0
    from dagster_project.simulator.http.server import serve

    settings = Settings.load()
    serve(
        settings.data_dir,
        port=port or settings.port("LEDGERLINE_SIMULATOR_PORT"),
        business={
            "scenario": scenario,
            "customers": customers,
            "objects": objects,
            "months": months,
            "seed": seed,
        },
        rate_limit=rate_limit,
        latency_ms=latency_ms,
        faults=faults,
        api_version=api_version,
        reset=reset,
    )
    return 0


@simulator.command()
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="How far.")
@click.option("--to", metavar="TIME", help="Until this instant (ISO, UTC).")
@click.pass_context
def advance(context: click.Context, days: float | None, to: str | None) -> int:
    """Move the simulator's clock; what is due happens."""
    from dagster_project.simulator import process
    from dagster_project.stripe_api.target import reachable

    if (days is None) == (to is None):
        raise UsageError("Say either --days or --to.", "For example `ledgerline simulator advance --days 1`.")
    settings = Settings.load()
    if not settings.uses_simulator:
        raise UsageError("A Stripe key is set: there is no simulator to advance.", "Unset STRIPE_API_KEY.")
    port = context.parent.params["port"] if context.parent else None
    if port:
        result = process.advance(f"http://127.0.0.1:{port}", days=days, to=_date("--to", to))
    elif not process.has_business(settings.data_dir):
        raise UsageError(
            f"There is no simulated business in {settings.data_dir}.",
            "Set LEDGERLINE_DATA_DIR as where the simulator runs, or start one with `ledgerline simulator`.",
        )
    else:
        with reachable(settings) as target:
            result = process.advance(target.api_base, days=days, to=_date("--to", to))
    say(f"The simulator's clock is at {datetime.fromtimestamp(result['now'], UTC):%Y-%m-%d %H:%M} UTC.")
    say("Next: `ledgerline refresh` brings what happened.")
    return 0


# ---- effects ------------------------------------------------------------------------------------------------
@cli.command()
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


@cli.command()
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


@cli.command()
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


@cli.command()
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


# ---- webhooks -----------------------------------------------------------------------------------------------
@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Default: LEDGERLINE_RECEIVER_PORT.")
def receive(port: int | None) -> int:
    """Serve the webhook receiver in the foreground."""
    from dagster_project.receiver.serve import serve

    settings = Settings.load()
    serve(settings, port=port or settings.port("LEDGERLINE_RECEIVER_PORT"))
    return 0


@cli.group()
def webhooks() -> None:
    """The endpoint at Stripe."""


@webhooks.command()
@click.argument("url")
def register(url: str) -> int:
    """Make the endpoint URL known to Stripe, once; never deletes an endpoint."""
    from dagster_project.receiver.endpoint import register as make
    from dagster_project.stripe_api.target import reachable

    with reachable(Settings.load()) as target:
        make(target, url)
    say(f"{url} is registered. Its secret is kept in the data directory; the receiver reads it from there.")
    return 0


@webhooks.command(name="status")
def webhooks_status() -> int:
    """Endpoints that Stripe knows."""
    from dagster_project.receiver.endpoint import status as ask
    from dagster_project.stripe_api.target import reachable

    with reachable(Settings.load()) as target:
        rows = ask(target)
    if not rows:
        say("Stripe knows no endpoint. Next: `ledgerline webhooks register URL`.")
        return 1
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    return 0


# ---- all together -------------------------------------------------------------------------------------------
@cli.command()
def demo() -> int:
    """A Stripe business from nothing to MRR, reconciliation, checks and an outbox."""
    from dagster_project.demo import run

    return run(Settings.load())


@cli.command()
def dev() -> int:
    """Dagster UI, daemon, receiver and (without a key) simulator; Ctrl-C stops all."""
    from dagster_project.dev import dev as run

    return run(Settings.load())


@cli.command()
def docs() -> int:
    """dbt's documentation as one page: every table and column, in words."""
    from dagster_project.orchestration.dbt_project import generate_docs

    page: Path = generate_docs(Settings.load())
    say(f"Open {page} in a browser.")
    return 0


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def bench(names: tuple[str, ...], as_json: bool) -> int:
    """The project's benchmarks: figures beside their limits."""
    from dagster_project.bench import run

    return run(Settings.load(), names, as_json=as_json)


_later("golden", "Worked cases through the real pipeline")
_later("approve", "Approve a held effect")
_later("reject", "Reject a held effect")
_later("explain", "From a number to the Stripe objects behind it")

__all__ = ["cli", "main"]
