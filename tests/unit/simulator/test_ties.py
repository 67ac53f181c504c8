"""Every scenario ties, and a planted error is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_project.simulator.engine import business
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.history import make
from tests.unit.simulator.ties import Books, findings, read, ties

SIZES: dict[str, dict[str, Any]] = {"flat": {"objects": 4000}}
SMALL = {"customers": 60}


def made(path: Path, scenario: str, months: int = 8) -> World:
    world = World(Store(path))
    parameters = {"scenario": scenario, "seed": 7, "months": months, **SIZES.get(scenario, SMALL)}
    make(world, parameters, progress=lambda line: None)
    return world


@pytest.mark.parametrize("scenario", business.SCENARIOS)
def test_every_scenario_ties_at_the_end_of_its_history_and_later(scenario: str, tmp_path: Path) -> None:
    world = made(tmp_path / "state.sqlite", scenario)
    assert ties(world) == []
    for days in (1.3, 25):
        world.advance(world.now + int(days * business.DAY))
        assert ties(world) == []
    world.store.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = made(tmp_path_factory.mktemp("planted") / "state.sqlite", "saas")
    yield world
    world.store.close()


def one(kind: str, suits: Callable[[dict[str, Any]], Any] = bool) -> Callable[[Books], dict[str, Any]]:
    return lambda books: next(obj for obj in books.all(kind) if suits(obj))


_PAID = one("invoice", lambda invoice: invoice["status"] == "paid" and invoice["amount_paid"] > 0)
PLANTED: list[tuple[str, Callable[[Books], dict[str, Any]], str, Any]] = [
    ("balance_transaction", one("balance_transaction", lambda row: row["fee"]), "fee", 1),
    ("balance_transaction", one("balance_transaction"), "net", -1),
    ("charge", one("charge", lambda charge: charge["paid"]), "amount_refunded", 1),
    ("charge", one("charge", lambda charge: charge["paid"]), "amount_captured", -1),
    ("payout", one("payout"), "amount", 1),
    ("refund", one("refund"), "amount", 1),
    ("invoice", _PAID, "total", 1),
    ("invoice", _PAID, "amount_paid", -1),
    ("invoice", _PAID, "amount_due", 1),
    ("customer", one("customer"), "balance", -5),
    ("subscription", one("subscription", lambda sub: sub["status"] == "active"), "billing_cycle_anchor", 3600),
]


@pytest.mark.parametrize(("kind", "pick", "field", "by"), PLANTED)
def test_a_planted_error_is_found(
    world: World, kind: str, pick: Callable[[Books], dict[str, Any]], field: str, by: int
) -> None:
    books = read(world)
    planted = pick(books[world.id_of_account])
    planted[field] += by
    found = list(findings(books))
    named = {planted["id"], *(item["id"] for item in planted.get("items", {}).get("data", []))}
    assert any(id in finding for finding in found for id in named), found


def test_an_error_in_a_line_a_tax_a_discount_and_a_period_is_found(world: World) -> None:
    for spoil in (_spoil_line, _spoil_tax, _spoil_discount, _spoil_gap):
        books = read(world)
        spoiled = spoil(books[world.id_of_account])
        assert any(spoiled in finding for finding in findings(books)), spoil.__name__


def _lines(books: Books) -> Iterator[dict[str, Any]]:
    return (line for lines in books.children["line_item"].values() for line in lines)


def _of_period(line: dict[str, Any]) -> bool:
    details = line["parent"]["subscription_item_details"]
    return bool(details and not details["invoice_item"])


def _spoil_line(books: Books) -> str:
    line = next(line for line in _lines(books) if line["amount"] > 100 and _of_period(line))
    line["amount"] += 1
    return str(line["id"])


def _spoil_tax(books: Books) -> str:
    line = next(line for line in _lines(books) if line["taxes"] and line["taxes"][0]["amount"])
    line["taxes"][0]["amount"] += 1
    return str(line["id"])


def _spoil_discount(books: Books) -> str:
    line = next(line for line in _lines(books) if line["discount_amounts"] and line["discount_amounts"][0]["amount"])
    line["discount_amounts"][0]["amount"] += 2
    return str(line["invoice"])


def _spoil_gap(books: Books) -> str:
    sub = next(sub for sub in books.all("subscription") if sub["status"] == "active")
    item = sub["items"]["data"][0]["id"]
    line = next(
        line
        for line in _lines(books)
        if _of_period(line) and line["parent"]["subscription_item_details"]["subscription_item"] == item
    )
    line["period"]["end"] += 86_400
    return str(line["id"])
