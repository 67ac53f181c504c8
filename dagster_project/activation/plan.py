"""Planning: what the outcomes say now against what was seen before makes effects, in one transaction per route."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import duckdb
from sqlalchemy import Connection, Engine, bindparam, select, tuple_, update

from dagster_project.activation import outcomes, render
from dagster_project.activation.effects import effect_row
from dagster_project.activation.outcomes import Entity, Mark
from dagster_project.activation.routes import EVENT_COLUMNS, Route, Step, load_routes
from dagster_project.ops.database import exclusive
from dagster_project.ops.tables import effect, inbox, route_state, subject
from dagster_project.settings import Settings

_SAMPLE = 3


@dataclass(frozen=True)
class RoutePlan:
    """`baseline`: the first run, which took note of `rows` and sends nothing."""

    route: str
    destinations: tuple[str, ...]
    baseline: bool
    rows: int
    new: int
    held: int
    gone: int
    superseded: int
    sample: tuple[str, ...]

    def line(self) -> str:
        to = ", ".join(self.destinations)
        if self.baseline:
            return f"{self.route} → {to}: first run, takes note of {self.rows} and sends nothing"
        text = f"{self.route} → {to}: {self.new} new"
        for count, word in ((self.held, "held by its limits"), (self.superseded, "replaced"), (self.gone, "gone")):
            text += f", {count} {word}" if count else ""
        return text + (f" ({', '.join(self.sample)}{', …' if self.new > len(self.sample) else ''})" if self.new else "")


@dataclass(frozen=True)
class PlanReport:
    routes: list[RoutePlan] = field(default_factory=list)

    @property
    def new(self) -> int:
        return sum(row.new for row in self.routes)

    def lines(self) -> list[str]:
        """For a person, a line per route."""
        return [row.line() for row in self.routes] or ["There is no route."]


@dataclass(frozen=True)
class _Seen:
    version: int
    hash: str
    gone: bool


def plan(
    settings: Settings, engine: Engine, *, routes: Sequence[Route] | None = None, dry_run: bool = False
) -> PlanReport:
    """Make the effects that are due by the published warehouse; with `dry_run` say them and change nothing.

    Raises UsageError for a route that does not fit its model, WarehouseError when nothing is published.
    """
    routes = load_routes(settings.routes_dir) if routes is None else routes
    from_inbox = [route for route in routes if route.on]
    from_models = [route for route in routes if not route.on]
    done: dict[str, RoutePlan] = {}
    for route in from_inbox:
        route.check_columns(EVENT_COLUMNS, "an event")
        done[route.name] = _plan(engine, route, None, None, dry_run)
    if from_models:
        with outcomes.published(settings) as (con, number):
            # All are checked before any is planned, so that a mistake in one file sends nothing of the others either.
            found = {route.name: outcomes.check(con, route) for route in from_models}
            for route in from_models:
                done[route.name] = _plan(engine, route, (con, found[route.name]), number, dry_run)
    return PlanReport([done[route.name] for route in routes])


def _plan(
    engine: Engine, route: Route, source: tuple[duckdb.DuckDBPyConnection, dict[str, str]] | None,
    number: int | None, dry_run: bool,
) -> RoutePlan:  # fmt: skip
    now = datetime.now(UTC)
    marks = outcomes.marks(source[0], route, source[1]) if source else {}
    with engine.connect() if dry_run else exclusive(engine) as connection:
        events: dict[Entity, dict[str, Any]] = {}
        if source is None:
            events = _events(connection, route)
            marks = {entity: Mark("", row["as_of"], row["as_of"]) for entity, row in events.items()}
        seen = _seen(connection, route.name)
        first = connection.execute(select(route_state).where(route_state.c.route == route.name)).first() is None
        baseline = first and not route.backfill
        due = [] if baseline else [entity for entity, mark in marks.items() if _is_due(route, mark, seen.get(entity))]
        # Events are read once each, so that they are not among the marks later does not mean that they are gone.
        gone = [entity for entity, was in seen.items() if not was.gone and entity not in marks] if source else []
        held = not first and _exceeds(route, len(due), len(seen))
        versions = {entity: (seen[entity].version if entity in seen else 0) + 1 for entity in due}
        content = outcomes.rows(source[0], route.source or "", due) if source and due else events
        made = _effects(route, due, versions, content, marks, now, held)
        superseded = 0
        if not dry_run:
            if route.mode == "state":
                superseded = _supersede(connection, route.name, due)
            _insert(connection, made)
            _remember(connection, route, marks, seen, versions, gone, now)
            _note(connection, route, number, now, first)
    return RoutePlan(
        route=route.name,
        destinations=tuple(dict.fromkeys(step.to for step in route.steps)),
        baseline=baseline,
        rows=len(marks),
        new=len(made),
        held=len(made) if held else 0,
        gone=len(gone),
        superseded=superseded,
        sample=tuple(entity[2] for entity in due[:_SAMPLE]),
    )


def _is_due(route: Route, mark: Mark, was: _Seen | None) -> bool:
    match route.mode:
        case "event":
            return was is None
        case "enter":
            return was is None or was.gone
        case "change":
            return was is not None and was.hash != mark.hash
        case "state":
            return was is None or was.gone or was.hash != mark.hash


def _exceeds(route: Route, due: int, known: int) -> bool:
    limits = route.limits
    return (limits.per_run is not None and due > limits.per_run) or (
        limits.max_ratio is not None and due > 1 and due > limits.max_ratio * max(known, 1)
    )


def _seen(connection: Connection, route: str) -> dict[Entity, _Seen]:
    rows = connection.execute(
        select(
            subject.c.account_id, subject.c.livemode, subject.c.key, subject.c.version, subject.c.hash,
            subject.c.left_at.is_not(None),
        ).where(subject.c.route == route)
    )  # fmt: skip
    return {(row[0], row[1], row[2]): _Seen(row[3], row[4], bool(row[5])) for row in rows}


def _events(connection: Connection, route: Route) -> dict[Entity, dict[str, Any]]:
    """What arrived and this route has not seen. The object is in the API version of the endpoint, not re-read."""
    known = select(subject.c.key).where(subject.c.route == route.name)
    found = connection.execute(
        select(inbox).where(inbox.c.type.in_(route.on), inbox.c.event_id.not_in(known)).order_by(inbox.c.id)
    )
    events: dict[Entity, dict[str, Any]] = {}
    for row in found:
        about = (json.loads(row.body).get("data") or {}).get("object") or {}
        account = row.account or ""
        event = {
            "key": row.event_id,
            "as_of": row.created,
            "account_id": account,
            "livemode": row.livemode,
            "event_id": row.event_id,
            "type": row.type,
            "object_id": row.object_id,
            "api_version": row.api_version,
            "object": about,
        }
        if all(event[column] in values for column, values in route.when.items()):
            events[(account, row.livemode, row.event_id)] = event
    return events


def _effects(
    route: Route, due: Sequence[Entity], versions: dict[Entity, int], content: dict[Entity, dict[str, Any]],
    marks: dict[Entity, Mark], now: datetime, held: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    # Grows from plan to plan, so that a lane keeps the order in which its effects were planned.
    seq = int(now.timestamp() * 1_000_000)
    made = []
    for entity in due:
        for number, step in enumerate(route.steps, 1):
            seq += 1
            payload = _payload(route, step, content[entity])
            made.append(
                effect_row(
                    route,
                    step,
                    number,
                    entity,
                    versions[entity],
                    payload,
                    seq=seq,
                    now=now,
                    occurred_at=marks[entity].at,
                    held=held,
                )
            )
    return made


def _payload(route: Route, step: Step, row: dict[str, Any]) -> dict[str, Any]:
    if step.template:
        return render.message(route.templates, step.template, row)
    return render.mapped(step.fields, row, write_nulls=route.write_nulls)


def _insert(connection: Connection, made: list[dict[str, Any]]) -> None:
    """Effects that exist already stay as they are: a ledger of subjects that was lost sends nothing twice."""
    if not made:
        return
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    connection.execute(insert(effect).on_conflict_do_nothing(), made)


def _supersede(connection: Connection, route: str, due: Iterable[Entity]) -> int:
    replaced = 0
    entities = list(due)
    for start in range(0, len(entities), 300):
        chunk = entities[start : start + 300]
        result = connection.execute(
            update(effect)
            .where(
                effect.c.route == route,
                effect.c.state.in_(("ready", "waiting", "held")),
                tuple_(effect.c.account_id, effect.c.livemode, effect.c.key).in_(chunk),
            )
            .values(state="superseded", next_at=None)
        )
        replaced += result.rowcount
    return replaced


def _remember(
    connection: Connection, route: Route, marks: dict[Entity, Mark], seen: dict[Entity, _Seen],
    versions: dict[Entity, int], gone: Sequence[Entity], now: datetime,
) -> None:  # fmt: skip
    new, changed = [], []
    for entity, mark in marks.items():
        was = seen.get(entity)
        version = versions.get(entity, was.version if was else 0)
        row = {"hash": mark.hash, "as_of": mark.as_of, "version": version}
        if was is None:
            key = {"account_id": entity[0], "livemode": entity[1], "key": entity[2]}
            new.append({"route": route.name, **key, **row, "first_seen": now})
        elif was.gone or was.hash != mark.hash or was.version != version:
            changed.append({**_where(route.name, entity), **row, "left_at": None})
    if new:
        connection.execute(subject.insert(), new)
    this = (
        (subject.c.route == bindparam("b_route"))
        & (subject.c.account_id == bindparam("b_account"))
        & (subject.c.livemode == bindparam("b_livemode"))
        & (subject.c.key == bindparam("b_key"))
    )
    if changed:
        columns: dict[str, Any] = {name: bindparam(name) for name in ("hash", "as_of", "version", "left_at")}
        connection.execute(update(subject).where(this).values(columns), changed)
    if gone:
        left = [{**_where(route.name, entity), "left_at": now} for entity in gone]
        connection.execute(update(subject).where(this).values(left_at=bindparam("left_at")), left)


def _where(route: str, entity: Entity) -> dict[str, Any]:
    return {"b_route": route, "b_account": entity[0], "b_livemode": entity[1], "b_key": entity[2]}


def _note(connection: Connection, route: Route, number: int | None, now: datetime, first: bool) -> None:
    values = {"route_hash": route.hash, "last_planned_at": now, "publication": number}
    if first:
        connection.execute(route_state.insert().values(route=route.name, first_planned_at=now, **values))
    else:
        connection.execute(update(route_state).where(route_state.c.route == route.name).values(values))


__all__ = ["PlanReport", "RoutePlan", "plan"]
