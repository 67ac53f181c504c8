"""`ledgerline doctor` and `status`: what works, and how the warehouse stands."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from dagster_project.settings import Settings
from dagster_project.terminal import say, table


@click.command()
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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def status(as_json: bool) -> int:
    """Age, completeness, reads, ties and what waits, in one screen."""
    from dagster_project.status import read_status, show_status
    from dagster_project.summary import headline

    settings = Settings.load()
    report = read_status(settings)
    if as_json:
        figures = {"headline": headline(settings)} if report["publication"] else {}
        click.echo(json.dumps({**report, **figures}, indent=2, default=str))
    else:
        show_status(report)
    return 0 if report["ok"] else 1
