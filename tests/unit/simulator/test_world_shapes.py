"""Everything the business makes fits Stripe's published shapes of version 2026-10-28.endive."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dagster_project.simulator.engine import business
from dagster_project.simulator.engine.payouts import balance_object
from dagster_project.simulator.engine.seed import seed
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.history import make

_DEFAULT = Path(__file__).parents[3] / "../shared/reference/stripe/schemas.json"
_DEFINITIONS = {"external_account": "bank_account"}  # kinds that are named otherwise than their objects
_OF_A_KIND = 150  # the newest of each kind, and the oldest


@pytest.fixture(scope="module")
def definitions() -> dict[str, Any]:
    path = Path(os.environ.get("LEDGERLINE_STRIPE_SCHEMAS", _DEFAULT))
    if not path.is_file():
        pytest.skip("Objects were not checked against Stripe's schemas: LEDGERLINE_STRIPE_SCHEMAS names no file.")
    return dict(json.loads(path.read_text(encoding="utf-8"))["$defs"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(Store(tmp_path_factory.mktemp("shapes") / "state.sqlite"))
    seed(world, seed=7, customers=150, months=8, progress=lambda line: None)
    world.advance(world.now + 20 * business.DAY)
    yield world
    world.store.close()


@pytest.mark.parametrize("scenario", [name for name in business.SCENARIOS if name != "saas"])
def test_every_object_of_every_scenario_fits_the_published_shape(
    definitions: dict[str, Any], scenario: str, tmp_path: Path
) -> None:
    world = World(Store(tmp_path / "state.sqlite"))
    size = {"objects": 2000} if scenario == "flat" else {"customers": 40}
    make(world, {"scenario": scenario, "seed": 7, "months": 6, **size}, progress=lambda line: None)
    world.advance(world.now + 10 * business.DAY)
    found: set[str] = set()
    for account in world.accounts():
        found |= faults(definitions, "balance", [balance_object(account)])
        for kind in account.store.counts():
            objects = account.store.all(kind)
            found |= faults(definitions, _DEFINITIONS.get(kind, kind), objects[:40] + objects[-40:])
    world.store.close()
    assert not found


def faults(definitions: dict[str, Any], name: str, objects: list[dict[str, Any]]) -> set[str]:
    validator = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})
    known = definitions[name]["properties"].keys()
    found = set()
    for obj in objects:
        for error in validator.iter_errors(obj):
            place = "/".join(part for part in map(str, error.absolute_path) if not part.isdigit())
            found.add(f"{name}/{place}: {error.message[-200:]}")
        found |= {f"{name}/{key}: unknown key" for key in obj.keys() - known}
    return found


def test_every_object_fits_the_published_shape(definitions: dict[str, Any], world: World) -> None:
    found: set[str] = set()
    kinds = world.store.counts()
    for kind in kinds:
        objects = world.store.all(kind)
        found |= faults(definitions, _DEFINITIONS.get(kind, kind), objects[:_OF_A_KIND] + objects[-_OF_A_KIND:])
    assert not found
    assert len(kinds) >= 38


def test_what_an_event_carries_fits_the_published_shape(definitions: dict[str, Any], world: World) -> None:
    told: dict[str, dict[str, Any]] = {}
    for event in world.store.all("event"):
        told[event["type"]] = event["data"]["object"]
    found = {fault for obj in told.values() for fault in faults(definitions, obj["object"], [obj])}
    assert not found
    assert len(told) >= 25


def test_the_balance_fits_the_published_shape(definitions: dict[str, Any], world: World) -> None:
    assert not faults(definitions, "balance", [balance_object(world)])


def test_every_event_type_is_one_of_stripe_s(definitions: dict[str, Any], world: World) -> None:
    types = Path(os.environ.get("LEDGERLINE_STRIPE_SCHEMAS", _DEFAULT)).with_name("event_types.json")
    if not types.is_file():
        pytest.skip("Event types were not checked: there is no event_types.json beside the schemas.")
    published = types.read_text(encoding="utf-8")
    made = {event["type"] for event in world.store.all("event")}
    assert {name for name in made if f'"{name}"' not in published} == set()
