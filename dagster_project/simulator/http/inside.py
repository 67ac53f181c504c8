"""A request without HTTP: what a scenario does to its own account goes the way of every other caller."""

from __future__ import annotations

from functools import cache
from typing import Any

from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.endpoints import Router
from dagster_project.simulator.http.mutations import Mutation, mutations


def request(world: World, method: str, path: str, /, **params: Any) -> Object | None:
    """The object that Stripe would answer with; None when it would refuse, and then nothing has happened.

    A declined card is a refusal that leaves its attempt behind. Objects from before must be fetched again. Raises
    LookupError for a path that the simulator does not have.
    """
    found = _router().find(method, path)
    if found is None:
        raise LookupError(f"{method} {path}")
    _, mutation, ids = found
    announced = world.platform.announced()
    try:
        with world.store.atomic():
            try:
                return mutation.run(world, ids, {name: _sent(value) for name, value in params.items()})
            except ApiError as error:
                if error.status != 402:
                    raise
                return None
    except ApiError:
        world.platform.unannounce(announced)
        return None


@cache
def _router() -> Router[Mutation]:
    made: Router[Mutation] = Router()
    for mutation in mutations():
        made.add(mutation.method, mutation.path, mutation)
    return made


def _sent(value: Any) -> Any:
    """As it arrives in a form: everything is text."""
    if isinstance(value, dict):
        return {name: _sent(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_sent(each) for each in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
