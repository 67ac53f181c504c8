"""What an effect is made of: its id, its lane, its row."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from dagster_project.activation.outcomes import Entity
from dagster_project.activation.routes import Route, Step

_NAMESPACE = UUID("7b1d5c52-6b0e-5f0c-9a55-2f6f2a1c1e5d")


def effect_id(route: str, entity: Entity, version: int, step: int, gen: int) -> str:
    """The same id whenever the same is planned, so that planning again adds nothing."""
    account, livemode, key = entity
    return str(uuid5(_NAMESPACE, json.dumps([route, account, livemode, key, version, step, gen])))


def digest(payload: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def effect_row(
    route: Route, step: Step, number: int, entity: Entity, version: int, payload: dict[str, Any], *, seq: int,
    now: datetime, occurred_at: datetime | None, held: bool,
) -> dict[str, Any]:  # fmt: skip
    """A row of `effect`, ready or held."""
    account, livemode, key = entity
    return {
        "id": effect_id(route.name, entity, version, number, 1),
        "route": route.name,
        "route_hash": route.hash,
        "account_id": account,
        "livemode": livemode,
        "key": key,
        "version": version,
        "step": number,
        "gen": 1,
        "replay_of": None,
        "dest": step.to,
        "lane": f"{step.to}/{account}/{'live' if livemode else 'test'}/{key}",
        "seq": seq,
        "payload": payload,
        "payload_sha": digest(payload),
        "while_source": route.source if route.while_column else None,
        "while_column": route.while_column,
        "occurred_at": occurred_at,
        "created_at": now,
        "not_before": now + step.after,
        "state": "held" if held else "ready",
        "attempt": 0,
        "next_at": None if held else now + step.after,
        "error": "More effects than the route's limits allow in one run." if held else None,
    }
