"""Works every number of a simulated business out again, from its objects alone and with none of the engine's code."""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.simulator.engine.world import World
from tests.unit.simulator.ties import connect, credit, invoices, money, periods
from tests.unit.simulator.ties.books import Books, read

__all__ = ["Books", "findings", "read", "ties"]


def findings(books: dict[str, Books]) -> Iterator[str]:
    """What does not tie, of every account, in words."""
    for mine in books.values():
        for check in (money, credit, invoices, periods):
            yield from (f"{mine.account}: {found}" for found in check.findings(mine))
    yield from connect.findings(books)


def ties(world: World) -> list[str]:
    """What does not tie in a world; nothing when everything does."""
    return list(findings(read(world)))
