"""The calls that change something: each calls/<name>.yaml says what calls/<name>.py takes.

POST /v1/customers/{customer}:     the kinds in braces are the objects in the path, handed on as objects
  run: update                      the function: run(world, params, *objects) gives the object to answer with
  resource: customers              the list whose permission is needed (default: the list at that path)
  takes: {name: text}              the parameters, see parameters.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from dagster_project.simulator import calls
from dagster_project.simulator.engine import cards
from dagster_project.simulator.engine.world import NotConnected, World
from dagster_project.simulator.http.api_errors import missing, no_access
from dagster_project.simulator.http.endpoints import listings
from dagster_project.simulator.http.forms import Params
from dagster_project.simulator.http.parameters import checked

Object = dict[str, Any]
_FOLDER = Path(calls.__file__).parent


@dataclass(frozen=True)
class Mutation:
    """`name` and `kind` are what a restricted key may lack; `kinds` are those of the objects in the path."""

    method: str
    path: str
    name: str
    kind: str
    kinds: tuple[str, ...]
    takes: Mapping[str, Any]
    function: Callable[..., Object]

    def run(self, world: World, ids: list[str], given: Params) -> Object:
        """Raises ApiError 404 for an unknown object in the path, 400 for parameters that the call does not take, and
        403 when what it touches lies in an account that was disconnected.

        Everything happens on the test clock of the object in the path, or of the customer among the parameters.
        """
        objects = [_found(world, kind, id) for kind, id in zip(self.kinds, ids, strict=True)]
        params = checked(given, self.takes, lambda kind, id: _known(world, kind, id))
        about = [*objects, *(value for value in params.values() if isinstance(value, dict) and "object" in value)]
        clock = next(filter(None, map(world.clock_of, about)), None)
        try:
            with world.on(clock):
                return self.function(world, params, *objects)
        except NotConnected as gone:
            raise no_access(str(gone.args[0])) from None


def _found(world: World, kind: str, id: str) -> Object:
    obj = _known(world, kind, id)
    if obj is None or obj.get("deleted"):
        raise missing(kind, id)
    return obj


def _known(world: World, kind: str, id: str) -> Object | None:
    """The live object; a test token such as pm_card_visa is a new payment method each time."""
    obj = world.store.get(id, kind)
    return cards.from_token(world, id) if obj is None and kind == "payment_method" else obj


@cache
def mutations() -> tuple[Mutation, ...]:
    """Every call of calls/*.yaml."""
    return tuple(
        _mutation(file.stem, route, row)
        for file in sorted(_FOLDER.glob("*.yaml"))
        for route, row in yaml.safe_load(file.read_text(encoding="utf-8")).items()
    )


def _mutation(module: str, route: str, row: Mapping[str, Any]) -> Mutation:
    method, path = route.split(" ")
    name, kind = _resource(row.get("resource"), path)
    return Mutation(
        method,
        re.sub(r"{[^}]*}", "{id}", path),
        name,
        kind,
        tuple(re.findall(r"{([^}]*)}", path)),
        row.get("takes") or {},
        getattr(import_module(f"{calls.__name__}.{module}"), row["run"]),
    )


def _resource(named: str | None, path: str) -> tuple[str, str]:
    """(name, kind) of the list that a call belongs to: the one named, or the longest that its path begins with."""
    if named:
        return named, listings()[named].kind if named in listings() else named
    own = [row for row in listings().values() if row.parent is None and f"{path}/".startswith(f"{row.path}/")]
    found = max(own, key=lambda row: len(row.path))
    return found.name, found.kind
