"""The project as a whole: the demonstration, the development server, its documentation and benchmarks."""

from __future__ import annotations

from pathlib import Path

import click

from dagster_project.settings import Settings
from dagster_project.terminal import say


@click.command()
def demo() -> int:
    """A Stripe business from nothing to MRR, reconciliation, checks and an outbox."""
    from dagster_project.demo import run

    return run(Settings.load())


@click.command()
def dev() -> int:
    """Dagster UI, daemon, receiver and (without a key) simulator; Ctrl-C stops all."""
    from dagster_project.dev import dev as run

    return run(Settings.load())


@click.command()
def docs() -> int:
    """dbt's documentation as one page: every table and column, in words."""
    from dagster_project.orchestration.dbt_project import generate_docs

    page: Path = generate_docs(Settings.load())
    say(f"Open {page} in a browser.")
    return 0


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
@click.option("--only", help="Of extract: some of backfill,incremental,faults,peers.")
@click.option("--scale", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Of extract: part of its size.")
@click.option("--peer-python", help="Of extract: an interpreter that has dlt, when this one has not.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Of extract: where businesses stay.")
def bench(
    names: tuple[str, ...], as_json: bool, only: str | None, scale: float, peer_python: str | None, keep: Path | None
) -> int:
    """The project's benchmarks, demo, refresh, dev, simulator and extract: figures beside their limits."""
    from dagster_project.bench import run
    from dagster_project.bench.extract import Options

    parts = tuple(filter(None, (only or "").split(",")))
    return run(names, Options(parts, scale, peer_python, keep), as_json=as_json)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option(
    "--feed", type=click.Choice(["events", "versions"]), default="events", show_default=True,
    help="How history arrives: as Stripe's events, or as readings of every version.",
)  # fmt: skip
def golden(files: tuple[Path, ...], feed: str) -> int:
    """Worked cases through the real pipeline: each case and variant as an account of its own, all in one build."""
    from tempfile import TemporaryDirectory

    from dagster_project.golden.run import outcomes

    failed = passed = 0
    with TemporaryDirectory(prefix="ledgerline-golden-") as folder:
        for outcome in outcomes(files, feed, Path(folder)):
            failed, passed = failed + bool(outcome.differences), passed + (not outcome.differences)
            say(f"{'FAILED' if outcome.differences else 'passed'}  {outcome.label}")
            for line in outcome.differences:
                say(f"        {line}")
    say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
