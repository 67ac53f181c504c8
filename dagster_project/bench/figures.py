"""A measured figure beside its limit, and how figures are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click

from dagster_project.terminal import errors, say, table


@dataclass(frozen=True)
class Figure:
    """`value` and `limit` in `unit`; `better` says on which side of the limit is good.

    Without a `limit` it only informs. Without a `value` it was not measured, and `note` says why.
    """

    benchmark: str
    what: str
    value: float | None
    limit: float | None
    unit: str
    better: str = "less"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is nothing to meet, or nothing was measured."""
        if self.value is None or self.limit is None:
            return None
        return self.value <= self.limit if self.better == "less" else self.value >= self.limit

    @property
    def text(self) -> str:
        """What was measured, in its unit."""
        return _amount(self.value, self.unit)


def tell(text: str) -> None:
    """What is being done now; beside the figures, which a program may read."""
    errors.print(text)


def show(figures: Sequence[Figure], *, as_json: bool) -> None:
    """As a table with the notes below it, or as JSON."""
    if as_json:
        click.echo(json.dumps([{**asdict(figure), "met": figure.met} for figure in figures], indent=2))
        return
    table(
        ("benchmark", "what", "measured", "limit", "of the limit", "met"),
        [(f.benchmark, f.what, f.text, _limit(f), _ratio(f), _met(f)) for f in figures],
    )
    for figure in figures:
        if figure.note:
            say(f"  {figure.benchmark}, {figure.what}: {figure.note}")


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "not run"
    digits = 2 if abs(value) < 10 and value != int(value) else 1 if value != int(value) else 0
    return f"{value:,.{digits}f} {unit}".rstrip()


def _limit(figure: Figure) -> str:
    if figure.limit is None:
        return "–"
    return f"{'≤' if figure.better == 'less' else '≥'} {_amount(figure.limit, figure.unit)}"


def _ratio(figure: Figure) -> str:
    return f"{100 * figure.value / figure.limit:.0f} %" if figure.value is not None and figure.limit else "–"


def _met(figure: Figure) -> str:
    if figure.value is None:
        return "not run"
    return "–" if figure.met is None else "yes" if figure.met else "NO"
