"""Reading outcomes from the published warehouse: cheap marks of all rows, whole rows only where something is due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from dagster_project.activation.routes import Route
from dagster_project.errors import UsageError, WarehouseError
from dagster_project.settings import Settings
from dagster_project.warehouse.connection import Warehouse, open_file
from dagster_project.warehouse.publish import current

Entity = tuple[str, bool, str]  # account_id, livemode, key


@dataclass(frozen=True)
class Mark:
    """A row as the planner compares it; `hash` is of the watched columns, `at` when it happened."""

    hash: str
    as_of: datetime | None
    at: datetime | None


@contextmanager
def published(settings: Settings) -> Iterator[tuple[duckdb.DuckDBPyConnection, int]]:
    """The published version and its number. Raises WarehouseError when there is none."""
    publication = current(Warehouse(settings.data_dir))
    if publication is None:
        raise WarehouseError("Nothing is published yet.", "Run `ledgerline refresh`.")
    with open_file(publication.path, read_only=True) as con:
        yield con, publication.number


def columns(con: duckdb.DuckDBPyConnection, model: str) -> dict[str, str]:
    """Columns and types of an outcome; empty when there is no such model."""
    rows = con.execute(
        "select column_name, data_type from duckdb_columns() "
        "where database_name = 'warehouse' and schema_name = 'outcomes' and table_name = ? order by column_index",
        [model],
    )
    return dict(rows.fetchall())


def check(con: duckdb.DuckDBPyConnection, route: Route) -> dict[str, str]:
    """The outcome's columns. Raises UsageError when the model or a column that the route names is not published."""
    assert route.source is not None
    found = columns(con, route.source)
    where = f"outcomes.{route.source}"
    if not found:
        raise UsageError(f"{route.file.name}, route {route.name}: {where} is not published.", "Correct `from`.")
    if missing := sorted({"key", "as_of", "account_id", "livemode"} - set(found)):
        raise UsageError(f"{where} lacks {', '.join(missing)}, which every outcome has.", "Correct the model.")
    known = set(found) | ({"exponent"} if "currency" in found else set())
    route.check_columns(known, where)
    if route.while_column and found[route.while_column] != "BOOLEAN":
        raise UsageError(
            f"{route.file.name}, route {route.name}: {where}.{route.while_column} is {found[route.while_column]}.",
            "Name a BOOLEAN column in `while`.",
        )
    return found


def marks(con: duckdb.DuckDBPyConnection, route: Route, found: dict[str, str]) -> dict[Entity, Mark]:
    """A mark per row that `when` lets through. Raises WarehouseError when a key is missing or twice there."""
    watched = route.watch or tuple(name for name in found if name != "as_of")
    fields = ", ".join(f"{_name(name)} := {_name(name)}" for name in watched)
    hashed = f"md5(to_json(struct_pack({fields}))::varchar)" if route.mode in ("change", "state") else "''"
    conditions, values = [], []
    for column, allowed in route.when.items():
        conditions.append(f"{_name(column)} in ({', '.join('?' for _ in allowed)})")
        values += list(allowed)
    where = f"where {' and '.join(conditions)}" if conditions else ""
    rows = con.execute(
        f"select account_id, livemode, key::varchar, as_of::timestamptz, {_name(route.at)}::timestamptz, {hashed} "
        f"from outcomes.{route.source} {where} "
        f"order by {_name(route.at)}, account_id, key",
        values,
    ).fetchall()
    result: dict[Entity, Mark] = {}
    for account, livemode, key, as_of, at, digest in rows:
        entity = (account, livemode, key)
        if None in entity or entity in result:
            raise WarehouseError(
                f"outcomes.{route.source}: the key {key!r} is {'twice there' if entity in result else 'incomplete'}.",
                "Every outcome needs one row per account_id, livemode and key; correct the model.",
            )
        result[entity] = Mark(digest, as_of, at)
    return result


def rows(con: duckdb.DuckDBPyConnection, model: str, wanted: Sequence[Entity]) -> dict[Entity, dict[str, Any]]:
    """Whole rows of these keys, with the `exponent` of their currency where they have one."""
    cursor = con.execute(
        f"select o.* from outcomes.{model} o semi join (select unnest(?::varchar[]) a, unnest(?::boolean[]) l, "
        "unnest(?::varchar[]) k) w on o.account_id = w.a and o.livemode = w.l and o.key::varchar = w.k",
        [[each[0] for each in wanted], [each[1] for each in wanted], [each[2] for each in wanted]],
    )
    names = [each[0] for each in cursor.description or []]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    if "currency" in names and "exponent" not in names:
        exponents = dict(con.execute("select code, exponent from seeds.stripe_currency").fetchall())
        for row in found:
            code = str(row["currency"]).lower()
            if code not in exponents:
                raise WarehouseError(f"outcomes.{model}: unknown currency {code!r}.", "Add it to the seed.")
            row["exponent"] = exponents[code]
    return {(row["account_id"], row["livemode"], str(row["key"])): row for row in found}


def still(con: duckdb.DuckDBPyConnection, model: str, column: str, wanted: Sequence[Entity]) -> set[Entity]:
    """Those whose `while` column is true now. Raises UsageError when the column is gone."""
    if column not in columns(con, model):
        raise UsageError(f"outcomes.{model} has no column {column}.", "Correct `while` of the route.")
    return {entity for entity, row in rows(con, model, wanted).items() if row[column] is True}


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
