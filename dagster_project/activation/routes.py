"""Routes: YAML files that say where an outcome goes, and when. They name columns and policies; all logic is SQL.

```yaml
route: dispute_alert          # name; part of every effect's id
from: disputes_opened         # model in outcomes, or  on: [charge.dispute.created]  for events as they arrive
mode: event                   # enter: when a key appears, also again after it was gone; change: when a watched column
                              # differs; state: on both, the newest replaces what waits; event: once per key
at: opened_at                 # column of when it happened; without it as_of, until when the data is known
watch: [status]               # columns that count as a change; without it all
when: {status: [needs_response]}   # only rows with these values
steps:
  - {to: slack, template: dispute_opened.j2}
  - {to: erp, map: {reference: invoice_id}, after: 3d}
while: still_open             # boolean column, read again before each send; false or gone cancels
limits: {per_run: 200, max_ratio: 0.2, on_exceed: hold}
nulls: omit                   # omit | write
backfill: false               # the first run takes note of what exists and sends nothing; true: it sends that as well
```
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from dagster_project.activation import render
from dagster_project.activation.destinations import FORMS, names
from dagster_project.errors import UsageError

Mode = Literal["enter", "change", "state", "event"]
_KEYS = {"route", "from", "on", "mode", "at", "watch", "when", "steps", "while", "limits", "nulls", "backfill"}
_STEP_KEYS = {"to", "template", "map", "after"}
_LIMIT_KEYS = {"per_run", "max_ratio", "on_exceed"}
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
EVENT_COLUMNS = frozenset(
    ("key", "as_of", "account_id", "livemode", "event_id", "type", "object_id", "api_version", "object")
)


@dataclass(frozen=True)
class Step:
    to: str
    template: str | None
    fields: dict[str, str]
    after: timedelta


@dataclass(frozen=True)
class Limits:
    """More effects in one run than `per_run`, or than `max_ratio` of the keys known, are held for a person."""

    per_run: int | None = None
    max_ratio: float | None = None


@dataclass(frozen=True)
class Route:
    name: str
    file: Path
    hash: str
    source: str | None
    on: tuple[str, ...]
    mode: Mode
    at: str
    watch: tuple[str, ...]
    when: dict[str, tuple[Any, ...]]
    steps: tuple[Step, ...]
    while_column: str | None
    limits: Limits
    write_nulls: bool
    backfill: bool
    columns: frozenset[str]  # that the route and its templates read

    @property
    def destination(self) -> str:
        """Of the first step: under it the route is planned."""
        return self.steps[0].to

    @property
    def templates(self) -> Path:
        return self.file.parent / "templates"

    def check_columns(self, known: set[str] | frozenset[str], where: str) -> None:
        """Raises UsageError naming the file and the columns that the source does not have."""
        if missing := sorted(self.columns - known):
            raise UsageError(
                f"{self.file.name}, route {self.name}: {where} has no column {', '.join(missing)}.",
                f"Use columns of {where}: {', '.join(sorted(known))}.",
            )


def load_routes(folder: Path) -> list[Route]:
    """The routes of all `*.yaml` files of a folder, by name. Raises UsageError naming the file and the key."""
    if not folder.is_dir():
        raise UsageError(f"The folder of routes {folder} does not exist.", "Set LEDGERLINE_ROUTES.")
    routes: dict[str, Route] = {}
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            documents = [each for each in yaml.safe_load_all(file.read_text(encoding="utf-8")) if each is not None]
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            raise UsageError(f"{file.name} cannot be read: {error}", "Correct the file.") from error
        for document in documents:
            route = _route(file, document)
            if route.name in routes:
                raise UsageError(
                    f"{file.name}: route {route.name} is in {routes[route.name].file.name} as well.", "Rename one."
                )
            routes[route.name] = route
    return [routes[name] for name in sorted(routes)]


class _Reader:
    """One mapping of a file; its complaints name the file and the key."""

    def __init__(self, where: str, value: Any, keys: set[str]) -> None:
        self.where = where
        if not isinstance(value, dict):
            raise self.wrong("", "is no mapping")
        # YAML 1.1 reads the key `on` as true.
        self.values = {("on" if key is True else str(key)): each for key, each in value.items()}
        if unknown := sorted(set(self.values) - keys):
            raise UsageError(f"{where}: unknown key {', '.join(unknown)}.", f"Use {', '.join(sorted(keys))}.")

    def wrong(self, key: str, what: str) -> UsageError:
        return UsageError(f"{self.where}{f', {key}' if key else ''}: {what}.", "Correct the file.")

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.wrong(key, f"{value!r} is no text")
        return value

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.values.get(key, default)
        if value not in choices:
            raise self.wrong(key, f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.wrong(key, f"{value!r} is no list of names")
        return tuple(value)


def _route(file: Path, document: Any) -> Route:
    name = str(document.get("route")) if isinstance(document, dict) and document.get("route") else ""
    read = _Reader(f"{file.name}{f', route {name}' if name else ''}", document, _KEYS)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise read.wrong("route", "a name of small letters, digits and _ is needed")
    source, on = read.text("from"), read.texts("on")
    if (source is None) == (not on):
        raise read.wrong("from", "either `from` (a model) or `on` (event types) is needed")
    if source is not None and not re.fullmatch(r"[a-z][a-z0-9_]*", source):
        raise read.wrong("from", f"{source!r} is no model")
    mode: Any = read.choice("mode", "event", get_args(Mode))
    if on and mode != "event":
        raise read.wrong("mode", "events as they arrive are of mode `event`")
    while_column, at = read.text("while"), read.text("at") or "as_of"
    if on and while_column:
        raise read.wrong("while", "only a model can be read again")
    given_steps = read.values.get("steps")
    if not isinstance(given_steps, list) or not given_steps:
        raise read.wrong("steps", "at least one step is needed")
    steps = tuple(_step(f"{read.where}, step {n}", each) for n, each in enumerate(given_steps, 1))
    templates = file.parent / "templates"
    when = _when(read)
    columns = {at, *read.texts("watch"), *when, *([while_column] if while_column else [])}
    for step in steps:
        columns |= set(step.fields.values())
        if step.template:
            columns |= render.variables(templates, step.template)
    backfill = read.values.get("backfill", False)
    if not isinstance(backfill, bool):
        raise read.wrong("backfill", f"{backfill!r} is neither true nor false")
    return Route(
        name=name,
        file=file,
        hash=_hash(read.values, templates, steps),
        source=source,
        on=on,
        mode=mode,
        at=at,
        watch=read.texts("watch"),
        when=when,
        steps=steps,
        while_column=while_column,
        limits=_limits(read),
        write_nulls=read.choice("nulls", "omit", ("omit", "write")) == "write",
        backfill=backfill,
        columns=frozenset(columns),
    )


def _step(where: str, value: Any) -> Step:
    read = _Reader(where, value, _STEP_KEYS)
    to = read.text("to")
    if to not in names():
        raise read.wrong("to", f"unknown destination {to!r}; there are {', '.join(names())}")
    template, fields = read.text("template"), read.values.get("map")
    if FORMS[to] == "template" and (not template or fields is not None):
        raise read.wrong("template", f"{to} needs a template and no map")
    if FORMS[to] == "map" and (template or not isinstance(fields, dict) or not fields):
        raise read.wrong("map", f"{to} needs a map of fields to columns and no template")
    fields = fields or {}
    if not all(isinstance(field, str) and isinstance(column, str) for field, column in fields.items()):
        raise read.wrong("map", "fields and columns are names")
    after = str(read.values.get("after", "0m"))
    match = re.fullmatch(r"(\d+)([mhd])", after)
    if not match:
        raise read.wrong("after", f"{after!r} is no time such as 30m, 12h or 3d")
    return Step(to, template, fields, timedelta(**{_UNITS[match[2]]: int(match[1])}))


def _when(read: _Reader) -> dict[str, tuple[Any, ...]]:
    value = read.values.get("when", {})
    if not isinstance(value, dict):
        raise read.wrong("when", "is no mapping of columns to values")
    chosen = {str(column): tuple(v) if isinstance(v, list) else (v,) for column, v in value.items()}
    for column, values in chosen.items():
        if not values or not all(isinstance(each, (str, int, bool)) for each in values):
            raise read.wrong(f"when, {column}", "a text, a whole number, true, false, or a list of these is needed")
    return chosen


def _limits(read: _Reader) -> Limits:
    if "limits" not in read.values:
        return Limits()
    inner = _Reader(f"{read.where}, limits", read.values["limits"], _LIMIT_KEYS)
    inner.choice("on_exceed", "hold", ("hold",))
    per_run, ratio = inner.values.get("per_run"), inner.values.get("max_ratio")
    if per_run is not None and (type(per_run) is not int or per_run < 1):
        raise inner.wrong("per_run", f"{per_run!r} is no number of effects")
    if ratio is not None and (type(ratio) not in (int, float) or not 0 < ratio <= 1):
        raise inner.wrong("max_ratio", f"{ratio!r} is no share between 0 and 1")
    return Limits(per_run, ratio)


def _hash(document: dict[str, Any], templates: Path, steps: tuple[Step, ...]) -> str:
    """Of the route and its templates: what an effect was made by."""
    parts = [json.dumps(document, sort_keys=True, default=str)]
    parts += [(templates / step.template).read_text(encoding="utf-8") for step in steps if step.template]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
