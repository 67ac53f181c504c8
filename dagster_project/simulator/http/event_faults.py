"""Events as a busy account gives them: some told twice, those of one second in any order."""

from __future__ import annotations

from dagster_project.simulator.engine import webhooks
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.faults import Dice, Faults


def muddle(world: World, faults: Faults, dice: Dice) -> None:
    """What the faults do to the new events of one account. Needs the lock."""
    for id in [*world.new_events]:
        if dice.happens(faults.event_twice_rate):
            webhooks.tell_again(world, id)
    if not faults.event_shuffle_rate:
        return
    seconds: dict[int, list[str]] = {}
    for id in world.new_events:
        if (event := world.store.get(id, "event")) is not None:
            seconds.setdefault(event["created"], []).append(id)
    for together in seconds.values():
        if len(together) > 1 and dice.happens(faults.event_shuffle_rate):
            world.store.reorder("event", dice.shuffled(together))
