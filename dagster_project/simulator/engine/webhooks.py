"""Which endpoint hears of which event, and what is to be sent to it.

A delivery is made with its event, with the bytes that every try sends. Rules: https://docs.stripe.com/webhooks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from dagster_project.simulator.engine.world import World

Object = dict[str, Any]
# Type -> the kinds of object that it tells of.
EVENT_TYPES: dict[str, list[str]] = msgspec.json.decode((Path(__file__).parent / "event_types.json").read_bytes())
# "*" does not cover these: https://docs.stripe.com/issuing/controls/real-time-authorizations (one endpoint decides).
EXPLICIT = ("issuing_authorization.request",)
KEPT = 20_000  # deliveries whose outcome can still be looked up
_encode = msgspec.json.Encoder().encode


def listening(world: World, type: str) -> list[tuple[World, Object]]:
    """(account, endpoint) of those that hear of an event of this type in the account of `world`.

    A platform's Connect endpoints hear of its connected accounts only, all others of their own account only.
    """
    found = [(world, endpoint) for endpoint in _endpoints(world, type, connect=False)]
    if world is not world.platform:
        found += [(world.platform, endpoint) for endpoint in _endpoints(world.platform, type, connect=True)]
    return found


def _endpoints(world: World, type: str, *, connect: bool) -> list[Object]:
    endpoints = []
    for id, kept in world.meta.get("webhooks", {}).items():
        if kept["connect"] == connect:
            endpoint = world.the(id, "webhook_endpoint")
            wanted = endpoint["enabled_events"]
            if endpoint["status"] == "enabled" and (type in wanted or ("*" in wanted and type not in EXPLICIT)):
                endpoints.append(endpoint)
    return endpoints


def deliver(owner: World, endpoint: Object, event: Object) -> None:
    """Plan a delivery to an endpoint of `owner`, as soon as whoever delivers gets to it."""
    account = "" if owner is owner.platform else owner.id_of_account
    owner.store.execute(
        "insert into delivery (endpoint, event, type, account, body) values (?, ?, ?, ?, ?)",
        (endpoint["id"], event["id"], event["type"], account, _encode(event)),
    )


def tell_again(world: World, id: str) -> None:
    """One change told by two events: the same once more under another id, to whoever heard of the first."""
    event = world.store.get(id, "event")
    if event is None:  # pruned meanwhile
        return
    again = world.add("event", "evt", **{name: value for name, value in event.items() if name not in ("id", "object")})
    world.new_events.append(again["id"])
    for endpoint, account, body in world.store.execute(
        "select endpoint, account, body from delivery where event = ? order by id", (id,)
    ).fetchall():
        owner = world.platform.within(account) if account else world.platform
        told = msgspec.json.decode(body) | {"id": again["id"]}
        deliver(owner, owner.the(endpoint, "webhook_endpoint"), told)


def prune(world: World) -> None:
    """Forget the oldest of the deliveries that are done."""
    world.store.execute(
        "delete from delivery where state != 'waiting' and id <= (select max(id) from delivery) - ?", (KEPT,)
    )


def register(world: World, endpoint: Object, secret: str, *, connect: bool) -> None:
    world.meta.setdefault("webhooks", {})[endpoint["id"]] = {"connect": connect, "secrets": [[secret, None]]}


def unregister(world: World, endpoint: Object) -> None:
    """Nothing is delivered to it any more."""
    world.meta.get("webhooks", {}).pop(endpoint["id"], None)


def roll(world: World, endpoint: Object, secret: str, until: float) -> None:
    """A new secret; deliveries are signed with the ones before as well, until `until` (Unix seconds, wall time).

    Source: https://docs.stripe.com/webhooks#roll-endpoint-secrets
    """
    kept = world.meta["webhooks"][endpoint["id"]]
    kept["secrets"] = [
        [secret, None], *([old, until if end is None else min(end, until)] for old, end in kept["secrets"])
    ]  # fmt: skip


def secrets(world: World, id: str, now: float) -> list[str]:
    """What deliveries to an endpoint are signed with now, the newest secret first."""
    return [secret for secret, until in world.meta["webhooks"][id]["secrets"] if until is None or until > now]
