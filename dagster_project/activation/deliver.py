"""The one place that sends: claim by lease, send, record.

The claim is committed before a socket opens. After a crash the row says that it was being sent, so what is not known is
known to be unknown, and the destination's recovery class decides what happens next.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import Connection, Engine, and_, bindparam, exists, func, insert, or_, select, update

from dagster_project.activation import outcomes
from dagster_project.activation.destinations import destination as configured
from dagster_project.activation.destinations import names
from dagster_project.activation.destinations.base import Destination, NotApplied, Outgoing, Permanent
from dagster_project.activation.redact import redacted
from dagster_project.ops.database import exclusive
from dagster_project.ops.tables import OPEN, attempt, effect
from dagster_project.settings import Settings

_FIRST_S, _LONGEST_S = 30.0, 6 * 3600.0
_GIVE_UP = timedelta(days=3)


@dataclass
class DeliveryReport:
    """What this call did; `held` is how many wait for a person in all."""

    delivered: int = 0
    waiting: int = 0
    dead: int = 0
    unsure: int = 0
    held: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class _Claimed:
    effect: Outgoing
    entity: outcomes.Entity
    was_unsure: bool
    created_at: datetime
    condition: tuple[str, str] | None  # outcome and `while` column


@dataclass(frozen=True)
class _Result:
    """`outcome`: delivered, cancelled, not_applied, permanent, unknown, or parked (a person decides)."""

    outcome: str
    remote_id: str | None = None
    error: str | None = None
    retry_after: float | None = None
    pause: bool = False


def deliver(
    settings: Settings, engine: Engine, *, destination: str | None = None,
    destinations: Mapping[str, Destination] | None = None,
) -> DeliveryReport:  # fmt: skip
    """Send everything that is due, of one destination or of all. `destinations` replaces the configured ones.

    Safe to run anywhere at the same time: a claimed effect is nobody else's. Raises UsageError for an unknown
    destination; what a destination answers is recorded, never raised.
    """
    report = DeliveryReport()
    for name in [destination] if destination else (list(destinations) if destinations else names()):
        to = destinations[name] if destinations else configured(settings, name)
        # Not only the name of the host and process: two threads are two deliverers.
        me = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}"
        while claimed := _claim(engine, name, to, me):
            results = _send_all(settings, to, claimed)
            _record(engine, to, me, claimed, results, report)
            if any(result.pause for result in results):
                break
    with engine.connect() as connection:
        chosen = effect.c.state == "held"
        if destination:
            chosen = and_(chosen, effect.c.dest == destination)
        report.held = connection.execute(select(func.count()).select_from(effect).where(chosen)).scalar_one()
    return report


def _claim(engine: Engine, name: str, to: Destination, me: str) -> list[_Claimed]:
    now = datetime.now(UTC)
    earlier = effect.alias("earlier")
    blocked = exists().where(
        earlier.c.lane == effect.c.lane,
        earlier.c.seq < effect.c.seq,
        or_(earlier.c.state.in_(OPEN), and_(earlier.c.state == "unsure", earlier.c.next_at.is_not(None))),
    )
    due = (
        select(effect)
        .where(
            effect.c.dest == name,
            effect.c.state.in_(("ready", "waiting", "unsure")),
            effect.c.next_at <= now,
            ~blocked,
        )
        .order_by(effect.c.seq)
        .limit(to.batch)
        .with_for_update(skip_locked=True)
    )
    with exclusive(engine) as connection:
        _expire(connection, name, to, now)
        rows = connection.execute(due).fetchall()
        if not rows:
            return []
        lease = now + timedelta(seconds=to.lease_s)
        connection.execute(
            update(effect)
            .where(effect.c.id == bindparam("b_id"))
            .values(
                state="sending",
                attempt=effect.c.attempt + 1,
                lease_until=lease,
                lease_by=me,
                first_sent_at=func.coalesce(effect.c.first_sent_at, bindparam("b_now", type_=effect.c.created_at.type)),
            ),
            [{"b_id": row.id, "b_now": now} for row in rows],
        )
        connection.execute(
            insert(attempt), [{"effect_id": row.id, "n": row.attempt + 1, "started": now} for row in rows]
        )
    return [
        _Claimed(
            Outgoing(
                id=row.id,
                route=row.route,
                key=row.key,
                payload=row.payload,
                occurred_at=row.occurred_at or row.created_at,
                attempt=row.attempt + 1,
                first_sent_at=row.first_sent_at or now,
            ),
            (row.account_id, row.livemode, row.key),
            row.state == "unsure",
            row.created_at,
            (row.while_source, row.while_column) if row.while_source and row.while_column else None,
        )
        for row in rows
    ]


def _expire(connection: Connection, name: str, to: Destination, now: datetime) -> None:
    """Leases that ran out: their deliverer died, or is so slow that nobody knows."""
    late = select(effect.c.id, effect.c.attempt).where(
        effect.c.dest == name, effect.c.state == "sending", effect.c.lease_until < now
    )
    rows = connection.execute(late.with_for_update(skip_locked=True)).fetchall()
    if not rows:
        return
    text = "The lease ran out: whoever was sending it stopped."
    connection.execute(
        update(effect)
        .where(effect.c.id == bindparam("b_id"))
        .values(state="unsure", next_at=None if to.recovery == "blind" else now, error_class="unknown", error=text),
        [{"b_id": row.id} for row in rows],
    )
    connection.execute(
        update(attempt)
        .where(attempt.c.effect_id == bindparam("b_id"), attempt.c.n == bindparam("b_n"), attempt.c.ended.is_(None))
        .values(ended=now, outcome="unknown", error=text),
        [{"b_id": row.id, "b_n": row.attempt} for row in rows],
    )


def _send_all(settings: Settings, to: Destination, claimed: Sequence[_Claimed]) -> list[_Result]:
    results: dict[str, _Result] = _settled(settings, to, claimed)
    open_ones = [each.effect for each in claimed if each.effect.id not in results]
    if open_ones:
        try:
            answers: Sequence[str | Exception | None] = to.send_many(open_ones)
        except Exception as error:  # whatever it is, it is recorded; an unknown kind counts as unknown
            answers = [error] * len(open_ones)
        results.update((one.id, _meaning(answer)) for one, answer in zip(open_ones, answers, strict=True))
    return [results[each.effect.id] for each in claimed]


def _settled(settings: Settings, to: Destination, claimed: Sequence[_Claimed]) -> dict[str, _Result]:
    """Those that are not to be sent: found at the destination, not to be told, or no longer true."""
    results: dict[str, _Result] = {}
    for each in claimed:
        if not each.was_unsure or to.recovery in ("keyed", "upsert"):
            continue
        try:
            found = to.find(each.effect) if to.recovery == "probe" else None
        except Exception as error:  # as in sending
            results[each.effect.id] = _Result("parked", error=redacted(f"Looking for it failed: {error}"))
            continue
        if found:
            results[each.effect.id] = _Result("delivered", remote_id=found)
        elif found is None:
            results[each.effect.id] = _Result("parked", error="It cannot be told whether it arrived.")
    checked: dict[tuple[str, str], list[_Claimed]] = {}
    for each in claimed:
        # What may have arrived already is finished: cancelling would leave it half done.
        if each.condition and each.effect.id not in results and not each.was_unsure:
            checked.setdefault(each.condition, []).append(each)
    for (model, column), group in checked.items():
        try:
            with outcomes.published(settings) as (con, _number):
                true_now = outcomes.still(con, model, column, [each.entity for each in group])
        except Exception as error:  # not re-read is not sent
            text = redacted(f"`while` could not be read again: {error}")
            results.update((each.effect.id, _Result("not_applied", error=text)) for each in group)
            continue
        gone = _Result("cancelled", error=f"{column} is no longer true.")
        results.update((each.effect.id, gone) for each in group if each.entity not in true_now)
    return results


def _meaning(answer: str | Exception | None) -> _Result:
    if not isinstance(answer, Exception):
        return _Result("delivered", remote_id=answer)
    text = redacted(str(answer) or type(answer).__name__)
    if isinstance(answer, NotApplied):
        return _Result("not_applied", error=text, retry_after=answer.retry_after, pause=answer.pause)
    return _Result("permanent" if isinstance(answer, Permanent) else "unknown", error=text)


def _record(
    engine: Engine, to: Destination, me: str, claimed: Sequence[_Claimed], results: Sequence[_Result],
    report: DeliveryReport,
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    changes, attempts = [], []
    for each, result in zip(claimed, results, strict=True):
        state, next_at = _next(to, each, result, now)
        setattr(report, state, getattr(report, state) + 1)
        changes.append(
            {
                "b_id": each.effect.id,
                "b_n": each.effect.attempt,
                "state": state,
                "next_at": next_at,
                "done_at": now if state == "delivered" else None,
                "remote_id": result.remote_id,
                "error_class": None if state == "delivered" else result.outcome,
                "error": result.error,
            }
        )
        attempts.append(
            {
                "b_id": each.effect.id,
                "b_n": each.effect.attempt,
                "ended": now,
                "outcome": result.outcome,
                "error": result.error,
                "retry_after_s": None if result.retry_after is None else round(result.retry_after),
            }
        )
    # A deliverer whose lease ran out may still say what it knows, unless somebody else has taken the effect since.
    mine = (
        (effect.c.id == bindparam("b_id"))
        & (effect.c.attempt == bindparam("b_n"))
        & (effect.c.lease_by == me)
        & or_(effect.c.state == "sending", effect.c.state == "unsure")  # IN cannot be prepared for many rows
    )
    this = (attempt.c.effect_id == bindparam("b_id")) & (attempt.c.n == bindparam("b_n"))
    with exclusive(engine) as connection:
        names_of = [name for name in changes[0] if not name.startswith("b_")]
        connection.execute(
            update(effect).where(mine).values({name: bindparam(name) for name in names_of} | {"lease_until": None}),
            changes,
        )
        columns = [name for name in attempts[0] if not name.startswith("b_")]
        connection.execute(update(attempt).where(this).values({name: bindparam(name) for name in columns}), attempts)


def _next(to: Destination, each: _Claimed, result: _Result, now: datetime) -> tuple[str, datetime | None]:
    """The state after an attempt, and when it is due again."""
    too_old = now - (each.effect.first_sent_at or now) > _GIVE_UP
    match result.outcome:
        case "delivered" | "cancelled":
            return result.outcome, None
        case "permanent":
            return "dead", None
        case "not_applied":
            return ("dead", None) if too_old else ("waiting", now + _pause(each.effect.attempt, result.retry_after))
        case "unknown" if to.recovery != "blind" and not too_old:
            return "unsure", now + _pause(each.effect.attempt, None)
        case _:
            return "unsure", None


def _pause(attempts: int, asked: float | None) -> timedelta:
    """Full jitter, so that effects that failed together do not come back together; never before what was asked."""
    longest = min(_LONGEST_S, _FIRST_S * 2 ** min(attempts - 1, 20))
    return timedelta(seconds=max(asked or 0.0, random.uniform(1.0, longest)))  # noqa: S311
