"""What was sent, what waits, and trying one again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, and_, case, func, or_, select, update

from dagster_project.activation.effects import effect_id
from dagster_project.errors import UsageError
from dagster_project.ops.database import exclusive
from dagster_project.ops.tables import attempt, effect


def overview(engine: Engine) -> list[dict[str, Any]]:
    """Per destination: how many are in which state, how many could go out now, and how long the oldest of those waits.

    `ready` counts what goes out by itself: not before a later step's time, or after a failed try.
    """
    now = datetime.now(UTC)
    pending = effect.c.state.in_(("ready", "waiting", "sending"))
    due = or_(
        and_(effect.c.state.in_(("ready", "waiting", "unsure")), effect.c.next_at <= now),
        and_(effect.c.state == "sending", effect.c.lease_until < now),
    )

    def count(condition: Any) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    query = (
        select(
            effect.c.dest,
            count(pending),
            count(due),
            *(count(effect.c.state == state) for state in ("held", "unsure", "dead", "delivered")),
            func.min(case((due, effect.c.not_before)), type_=effect.c.not_before.type),
        )
        .group_by(effect.c.dest)
        .order_by(effect.c.dest)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).fetchall()
    return [
        {
            "destination": row[0],
            "ready": int(row[1]),
            "due": int(row[2]),
            "held": int(row[3]),
            "unsure": int(row[4]),
            "dead": int(row[5]),
            "delivered": int(row[6]),
            "oldest_age": None if row[7] is None else _age(now, row[7]),
        }
        for row in rows
    ]


def effects(
    engine: Engine, *, state: str | None = None, destination: str | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """The newest effects: when it happened, was planned, was last sent, and was acknowledged."""
    sent = select(func.max(attempt.c.started, type_=attempt.c.started.type)).where(attempt.c.effect_id == effect.c.id)
    query = select(effect, sent.scalar_subquery().label("sent")).order_by(effect.c.seq.desc()).limit(limit)
    if state:
        query = query.where(effect.c.state == state)
    if destination:
        query = query.where(effect.c.dest == destination)
    with engine.connect() as connection:
        rows = connection.execute(query).fetchall()
    return [
        {
            "id": row.id,
            "route": row.route,
            "dest": row.dest,
            "account_id": row.account_id,
            "livemode": row.livemode,
            "key": row.key,
            "state": row.state,
            "happened": row.occurred_at,
            "planned": row.created_at,
            "sent": row.sent,
            "acknowledged": row.done_at,
            "next_at": row.next_at,
            "attempts": row.attempt,
            "remote_id": row.remote_id,
            "error": row.error,
        }
        for row in rows
    ]


def replay(engine: Engine, given: str, *, happened: bool) -> str:
    """Let a dead, unsure or held effect go again; its id.

    `happened=False` says that a person has looked and it is not at the destination: a new effect takes its place. Else
    the same one is tried again under its id; one that may have arrived only as far as its destination's recovery class
    allows, so nothing is sent twice by this.
    Raises UsageError when no such effect waits for a person. `given` may be the beginning of an id.
    """
    now = datetime.now(UTC)
    with exclusive(engine) as connection:
        starts = effect.c.id.startswith(given, autoescape=True)
        rows = connection.execute(select(effect).where(starts).limit(2)).fetchall() if given else []
        if len(rows) != 1:
            raise UsageError(
                f"{'No effect' if not rows else 'More than one effect'} has the id {given!r}.",
                "List them with `ledgerline effects`.",
            )
        row = rows[0]
        if row.state not in ("dead", "unsure", "held"):
            raise UsageError(f"Effect {row.id} is {row.state}.", "Only dead, unsure and held effects are tried again.")
        if happened or row.state == "held":
            again = {"state": "ready", "next_at": max(now, row.not_before), "error": None, "error_class": None}
            if row.state == "unsure":
                again["state"] = "unsure"
            elif row.state == "dead":
                again["first_sent_at"] = None  # the days after which it is given up begin anew
            connection.execute(update(effect).where(effect.c.id == row.id).values(again))
            return str(row.id)
        gen = row.gen + 1
        new = effect_id(row.route, (row.account_id, row.livemode, row.key), row.version, row.step, gen)
        copied = {column: getattr(row, column) for column in (each.name for each in effect.c)}
        fresh = {
            "id": new, "gen": gen, "replay_of": row.id, "state": "ready", "attempt": 0, "created_at": now,
            "next_at": now, "not_before": now, "seq": int(now.timestamp() * 1_000_000), "first_sent_at": None,
            "lease_until": None, "lease_by": None, "error": None, "error_class": None, "done_at": None,
            "remote_id": None,
        }  # fmt: skip
        connection.execute(effect.insert().values(**(copied | fresh)))
        connection.execute(update(effect).where(effect.c.id == row.id).values(state="replaced", next_at=None))
        return new


def _age(now: datetime, since: datetime) -> str:
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
