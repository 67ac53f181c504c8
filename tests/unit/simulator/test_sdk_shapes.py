"""The SDK's typed resources are the second oracle: no key, at any depth, and no word that they do not declare."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stripe import StripeObject
from stripe._object_classes import get_object_class

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World

_KINDS = {"external_account": "bank_account"}
_OF_A_KIND = 200


@pytest.fixture(scope="module")
def world(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(Store(Path(shutil.copy(history, tmp_path_factory.mktemp("typed")))))
    world.advance(world.now + 10 * 86_400)
    yield world
    world.store.close()


def strange(value: Any, typed: type[StripeObject], place: str) -> set[str]:
    """Keys that the class does not declare, and words outside its closed enumerations."""
    found: set[str] = set()
    declared = {name: note for each in typed.__mro__ for name, note in getattr(each, "__annotations__", {}).items()}
    renamed = {name.rstrip("_") for name in declared}  # what is a keyword in Python, such as `from`
    inner = getattr(typed, "_inner_class_types", {})
    for key, each in value.items():
        if key not in declared and key not in renamed:
            found.add(f"{place}.{key}")
            continue
        words = re.findall(r"'([^']*)'", str(declared.get(key, ""))) if isinstance(each, str) else []
        if words and "Literal" in str(declared[key]) and each not in words:
            found.add(f"{place}.{key}={each}")
        for part in each if isinstance(each, list) else [each]:
            if isinstance(part, dict) and key in inner and not getattr(inner[key], "_is_dict", False):
                found |= strange(part, inner[key], f"{place}.{key}")
            elif isinstance(part, dict) and isinstance(part.get("object"), str) and part["object"] != "list":
                found |= strange(part, get_object_class("V1", part["object"]), f"{place}.{key}")
            elif isinstance(part, dict) and part.get("object") == "list":
                for row in part["data"]:
                    found |= strange(row, get_object_class("V1", row["object"]), f"{place}.{key}[]")
    return found


def test_every_object_is_one_of_the_sdks_typed_resources(world: World) -> None:
    found: set[str] = set()
    kinds = [kind for kind in world.store.counts() if kind != "event"]  # an event's data has the shape of its object
    for kind in kinds:
        objects = world.store.all(kind)
        typed = get_object_class("V1", _KINDS.get(kind, kind))
        assert typed is not StripeObject, kind
        for obj in objects[:_OF_A_KIND] + objects[-_OF_A_KIND:]:
            found |= strange(obj, typed, kind)
    assert found == set()
    assert len(kinds) > 30


def test_the_oracle_sees_a_key_and_a_word_that_do_not_exist(world: World) -> None:
    charge = world.store.all("charge")[0]
    charge["invoice"] = "in_1"
    charge["outcome"]["mood"] = "good"
    charge["status"] = "perhaps"
    found = strange(charge, get_object_class("V1", "charge"), "charge")
    assert {"charge.invoice", "charge.outcome.mood"} <= found
    assert "charge.status=perhaps" in found
