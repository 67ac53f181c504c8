"""Stripe's catalogue as data: what can be listed, how it changes, what no event announces.

`catalog.yaml` has a row per object, `columns.json` the typed columns of each, `column_words.yaml` what a column means.
Assets, tables, dbt staging, checks and tests are generated from these; nothing else lists Stripe objects.
Source of the facts: Stripe's API reference, https://docs.stripe.com/api, version 2026-10-28.endive.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from dagster_project.errors import UsageError

_HERE = Path(__file__).parent
Strategy = Literal["window", "chain", "children", "per_parent", "singleton"]

API_VERSION = "2026-10-28.endive"
EVENT_RETENTION_DAYS = 30


@dataclass(frozen=True)
class StripeObject:
    """One row of catalog.yaml, whose head explains the fields."""

    name: str
    path: str | None
    kind: str
    strategy: Strategy
    group: str
    description: str
    lists: tuple[Mapping[str, str], ...] = ({},)
    expand: tuple[str, ...] = ()
    parent: str | None = None
    parent_param: str | None = None
    parents_sql: str | None = None
    embedded_in: Mapping[str, str] | None = None
    created_field: str = "created"
    retrieve: bool = True
    events: tuple[str, ...] = ()
    marks: Mapping[str, str] | None = None
    tombstone: bool = False
    silent: bool = False
    appears: tuple[str, ...] = ()
    due_sql: str | None = None
    open_sql: str | None = None
    touched: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sweep_hours: int = 24
    relist_hours: int | None = None
    volatile: tuple[str, ...] = ()
    alone_by: str | None = None
    again_hours: int | None = None
    named_sql: str | None = None
    history: bool = False
    hidden_note: str | None = None
    leads_to: Mapping[str, str] | None = None
    leads_when: Mapping[str, Any] | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The values of Stripe's `object` field that its rows may have."""
        return tuple(self.kind.split("|"))

    @property
    def parent_field(self) -> str | None:
        """Where the parent embeds its list of these, e.g. `lines`."""
        return self.embedded_in.get(self.parent) if self.parent and self.embedded_in else None

    @property
    def parent_column(self) -> str | None:
        """The column that holds the parent's id (Stripe's own field where there is one)."""
        if self.parent is None:
            return None
        return _PARENT_COLUMNS.get(self.name, get(self.parent).kind.replace(".", "_"))

    def announces(self, event_type: str) -> bool:
        return any(event_type.startswith(prefix) for prefix in self.events)


# Where the field that names the parent is not called like the parent's kind.
_PARENT_COLUMNS = {
    "application_fee_refunds": "fee",
    "billing_meter_event_summaries": "meter",
    "billing_credit_balance_transactions": "credit_grant",
}

ColumnType = Literal["text", "bigint", "boolean", "time", "decimal", "ref", "json"]
DUCKDB_TYPES: Mapping[str, str] = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMPTZ",  # from Unix seconds
    "decimal": "DECIMAL(38,12)",  # Stripe's decimal strings have at most 12 places
    "ref": "VARCHAR",  # an expandable field: the id, whether expanded or not
    "json": "JSON",
}


@dataclass(frozen=True)
class Column:
    name: str
    type: ColumnType
    description: str

    @property
    def duckdb_type(self) -> str:
        return DUCKDB_TYPES[self.type]


def _read_catalogue() -> dict[str, StripeObject]:
    rows: dict[str, dict[str, Any]] = yaml.safe_load((_HERE / "catalog.yaml").read_text(encoding="utf-8"))
    objects = {}
    for name, row in rows.items():
        for key in ("lists", "expand", "events", "appears", "volatile"):
            if key in row:
                row[key] = tuple(row[key])
        if row["strategy"] == "children" and "retrieve" not in row:
            row["retrieve"] = False
        objects[name] = StripeObject(name=name, **row)
    return objects


CATALOGUE: Mapping[str, StripeObject] = _read_catalogue()


@cache
def _columns() -> dict[str, tuple[Column, ...]]:
    words: dict[str, str] = yaml.safe_load((_HERE / "column_words.yaml").read_text(encoding="utf-8"))
    fields: dict[str, dict[str, ColumnType]] = json.loads((_HERE / "columns.json").read_text(encoding="utf-8"))
    return {
        name: tuple(
            Column(
                field,
                type_,
                words.get(f"{name}.{field}") or words.get(field) or _words_for(field, type_, name),
            )
            for field, type_ in fields[name].items()
        )
        for name in CATALOGUE
    }


def columns(name: str) -> tuple[Column, ...]:
    """The typed columns of `stripe.<name>`, in Stripe's order, `id` first.

    Raises UsageError for an unknown object.
    """
    return _columns()[get(name).name]


def _words_for(field: str, type_: ColumnType, name: str) -> str:
    text = field.replace("_", " ")
    match type_:
        case "ref":
            return f"Id of the {text}."
        case "time":
            return f"Time of `{text}` (UTC)."
        case "boolean":
            return f"Whether {text}."
        case "bigint" if "amount" in field or field in ("fee", "net", "total", "subtotal"):
            return f"The {text}, in minor units of the row's currency."
        case "json":
            return f"The {text}, as Stripe nests it (JSON)."
        case _:
            return f"The {text}, as Stripe states it."


@cache
def _event_prefixes() -> tuple[str, ...]:
    reasons = yaml.safe_load((_HERE / "not_read.yaml").read_text(encoding="utf-8"))["events"]
    followed = [prefix for row in CATALOGUE.values() for prefix in row.events]
    return tuple(followed + [prefix for group in reasons.values() for prefix in group])


def is_known_event(event_type: str) -> bool:
    """Whether an object follows events of this type, or not_read.yaml says why none does. Any other is new at Stripe:
    it is kept, and shown to people."""
    return event_type.startswith(_event_prefixes())


def get(name: str) -> StripeObject:
    """The catalogue row of `name`. Raises UsageError that proposes the nearest names."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}?" if near else "`ledgerline doctor` lists the objects."
    raise UsageError(f"Unknown Stripe object {name!r}.", hint)
