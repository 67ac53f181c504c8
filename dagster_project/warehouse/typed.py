"""SQL that turns landed JSON into typed columns; generated from the catalogue, used by load and history alike."""

from __future__ import annotations

import json

from dagster_project.stripe_api.catalog import Column, StripeObject, columns

# How a column is first taken out of the JSON; `finish` makes it what the table holds.
_RAW = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "boolean": "BOOLEAN",
    "time": "BIGINT",
    "decimal": "VARCHAR",
    "ref": "VARCHAR",
    "json": "JSON",
}


def structure(row: StripeObject) -> str:
    """The argument of json_transform for an object, as SQL text."""
    shape = {column.name: _RAW[column.type] for column in columns(row.name)} | {"deleted": "BOOLEAN"}
    return "'" + json.dumps(shape) + "'"


def finish(column: Column, source: str = "t") -> str:
    """The column's value from the struct `source`."""
    field = f'{source}."{column.name}"'
    match column.type:
        case "time":
            return f"to_timestamp({field})"
        case "decimal":
            return f"try_cast({field} as decimal(38,12))"
        case "ref":
            return f"case when starts_with({field}, '{{') then {field} ->> '$.id' else {field} end"
        case _:
            return field


def typed(row: StripeObject, *, given: dict[str, str] | None = None) -> str:
    """The select list of all catalogue columns from the struct `t`; `given` replaces single columns by SQL.

    Objects without an id of their own get one: Stripe's `balance` is one per account.
    """
    given = given or {}
    if row.name == "balance":
        given = {"id": "'balance'"} | given
    return ", ".join(f'{given.get(column.name) or finish(column)} as "{column.name}"' for column in columns(row.name))


def from_payload(column: Column) -> str:
    """The column's value from the payload alone, as SQL text for a table that has `_payload`."""
    return finish(column, "(json_transform(_payload, '" + json.dumps({column.name: _RAW[column.type]}) + "'))")


def container_of(row: StripeObject, path: str) -> str:
    """The embedded list of a row `p`: from its own column, which is parsed already, where there is one."""
    first, _, rest = path.partition(".")
    if not any(column.name == first and column.type == "json" for column in columns(row.name)):
        return f"json_extract(p._payload, '$.{path}')"
    return f"json_extract(p.\"{first}\", '$.{rest}')" if rest else f'p."{first}"'


def elements(container: str) -> str:
    """The objects of an embedded list, array or single object, as a list of JSON. Long text is parsed only once."""
    return (
        f"case when starts_with({container}, '[') then json_transform({container}, '[\"JSON\"]') "
        f"when starts_with({container}, '{{') "
        f'then coalesce(json_transform({container}, \'{{"data":["JSON"]}}\').data, [{container}]) else [] end'
    )


def fingerprint(row: StripeObject) -> str:
    """A hash of the content that an event and a re-read of the same version agree on.

    Embedded lists count by their ids, because what is expanded differs between events and reads; what is only there
    when asked for does not count.
    """
    asked = {name for name in row.expand if "." not in name} - {"discounts"}
    lists = {"items", "lines", "discounts", "refunds", "external_accounts", "payments"}
    parts = []
    for column in columns(row.name):
        if column.name in asked:
            continue
        value = f'"{column.name}"'
        if column.name in lists and column.type == "json":
            ids = f"list_transform({elements(value)}, lambda x: coalesce(x ->> '$.id', x ->> '$'))"
            value = f"array_to_string({ids}, ',')"
        parts.append(f"coalesce({value}::varchar, '~')")
    return f"md5(concat_ws('|', {', '.join(parts)}))"
