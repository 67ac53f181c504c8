"""The inbox: every webhook once, kept before it is acknowledged; a refresh takes what waits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, select, update

from dagster_project.ops.database import exclusive
from dagster_project.ops.tables import inbox


def store(engine: Engine, body: bytes, *, account: str | None = None, source: str = "webhook") -> bool:
    """Keep the event whose signed bytes are `body`; False when it had arrived before.

    `account` is what the receiver's path says; the event's own `account` (a connected one) goes before it.
    Raises ValueError when the body is no Stripe event.
    """
    event = json.loads(body)
    if not isinstance(event, dict) or event.get("object") != "event" or not isinstance(event.get("id"), str):
        raise ValueError("not an event of Stripe")
    about = (event.get("data") or {}).get("object") or {}
    row = {
        "event_id": event["id"],
        "type": str(event.get("type") or ""),
        "object_id": about.get("id"),
        "account": event.get("account") or account,
        "livemode": bool(event.get("livemode")),
        "api_version": event.get("api_version"),
        "created": datetime.fromtimestamp(int(event.get("created") or 0), UTC),
        "received_at": datetime.now(UTC),
        "source": source,
        "body": body,
        "sha256": hashlib.sha256(body).hexdigest(),
        "state": "new",
    }
    if engine.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    with exclusive(engine) as connection:
        done = connection.execute(insert(inbox).values(row).on_conflict_do_nothing(index_elements=["event_id"]))
        return done.rowcount == 1


def pending(engine: Engine) -> list[dict[str, Any]]:
    """What no refresh has taken yet, in order of arrival, without the bodies; `id` grows."""
    columns = (inbox.c.id, inbox.c.event_id, inbox.c.type, inbox.c.object_id, inbox.c.account, inbox.c.livemode)
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).where(inbox.c.state == "new").order_by(inbox.c.id))
        return [dict(row._mapping) for row in rows]


def bodies(engine: Engine, ids: Sequence[int]) -> list[tuple[str | None, bytes]]:
    """The events as Stripe signed them, each with the account that it came for where that is known."""
    found: list[tuple[str | None, bytes]] = []
    with engine.connect() as connection:
        for start in range(0, len(ids), 500):
            chosen = inbox.c.id.in_(ids[start : start + 500])
            rows = connection.execute(select(inbox.c.account, inbox.c.body).where(chosen).order_by(inbox.c.id))
            found += [(account, bytes(body)) for account, body in rows]
    return found


def mark_loaded(engine: Engine, ids: Sequence[int]) -> None:
    """A refresh has read what these announced."""
    with exclusive(engine) as connection:
        for start in range(0, len(ids), 500):
            chosen = inbox.c.id.in_(ids[start : start + 500])
            connection.execute(update(inbox).where(chosen).values(state="loaded"))
