"""Tables of the warehouse, generated from the catalogue: `stripe.<object>`, its history, and the state of the sync.

No primary keys, indexes or sequences: a lake lacks them, and DuckDB's indexes have open recovery bugs. Uniqueness is
checked at each load.
"""

from __future__ import annotations

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, Column, StripeObject, columns

SCHEMAS = ("stripe", "sync", "ops", "seeds", "staging", "intermediate", "marts", "outcomes")

KEY = (
    Column("account_id", "text", "The Stripe account; part of every key."),
    Column("livemode", "boolean", "True for real money, false for test data; part of every key."),
)
META = (
    ("_payload", "JSON", "The object as Stripe sent it."),
    ("_api_version", "VARCHAR", "API version in which it was sent."),
    ("_observed_at", "TIMESTAMPTZ", "When Stripe was asked for it, by Stripe's clock."),
    ("_source", "VARCHAR", "How it was read: list, read, sweep, event or absent."),
    ("_deleted_at", "TIMESTAMPTZ", "When it was found deleted at Stripe; null while it exists."),
)
HISTORY_META = (
    ("_payload", "JSON", "The object as it was."),
    ("valid_from", "TIMESTAMPTZ", "From when the object was like this."),
    ("valid_to", "TIMESTAMPTZ", "Until when; null for the newest version."),
    ("_valid_from_is_exact", "BOOLEAN", "True from an event's time, false from the time of a re-read."),
    ("_source", "VARCHAR", "How the version was seen."),
    ("_observed_at", "TIMESTAMPTZ", "When it was seen, by Stripe's clock."),
    ("_content_hash", "VARCHAR", "Fingerprint of the content; two versions in a row always differ."),
)

# DuckDB's own choice for JSON takes more time and, where objects resemble each other, several times the room.
_COMPRESSION = {"JSON": " using compression zstd"}

_OWNER = (("account_id", "VARCHAR", "The Stripe account."), ("livemode", "BOOLEAN", "True for real money."))
_CURSOR = (
    *_OWNER,
    ("cursor", "JSON", "How far the object was read, as the extraction keeps it."),
    ("updated_at", "TIMESTAMPTZ", "When it last moved."),
)
_SYNC: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "accounts": (
        "Accounts that are read, and until when they are known.",
        (
            *_OWNER,
            ("name", "VARCHAR", "The business's name at Stripe, or the name given in the settings."),
            ("country", "VARCHAR", "Two-letter country of the account."),
            ("default_currency", "VARCHAR", "Currency in which the account settles by default."),
            ("created", "TIMESTAMPTZ", "When the account was made."),
            ("synced_until", "TIMESTAMPTZ", "Until when the account is known, by Stripe's clock: the models' now."),
            ("error", "VARCHAR", "Why the last reading failed; null when it did not."),
        ),
    ),
    "object_state": (
        "How the last reading of each object went.",
        (
            *_OWNER,
            ("object", "VARCHAR", "The object, as its table is called."),
            ("state", "VARCHAR", "ok, unchanged, not_permitted or failed."),
            ("message", "VARCHAR", "What was wrong or unusual."),
            ("checked_at", "TIMESTAMPTZ", "When, by Stripe's clock."),
        ),
    ),
    "drift": (
        "Fields that Stripe sent and the pinned API version does not know; their values are in `_payload`.",
        (
            *_OWNER,
            ("object", "VARCHAR", "The object, as its table is called."),
            ("field", "VARCHAR", "The top-level field."),
            ("first_seen", "TIMESTAMPTZ", "When it was first sent, by Stripe's clock."),
            ("last_seen", "TIMESTAMPTZ", "When it was last sent, by Stripe's clock."),
            ("rows", "BIGINT", "Objects received with it; one that was read twice counts twice."),
            ("example", "VARCHAR", "Id of one of them."),
        ),
    ),
    "requests": (
        "Requests to Stripe, which count against the account's read allocation.",
        (
            *_OWNER,
            ("through", "VARCHAR", "Name of the account whose key read a connected account; null for its own key."),
            ("day", "DATE", "The day, by Stripe's clock (UTC)."),
            ("read_at", "TIMESTAMPTZ", "When the run ended, by Stripe's clock; null for days added up."),
            ("endpoint", "VARCHAR", "What was asked, e.g. /charges or /charges/{id}."),
            ("requests", "BIGINT", "Requests, refused ones included."),
            ("refused", "BIGINT", "Those that were answered with 429."),
        ),
    ),
    "loads": (
        "Landed files that are in the warehouse.",
        (
            ("file", "VARCHAR", "Path below the landing folder."),
            ("object", "VARCHAR", "The object that it holds."),
            ("rows", "BIGINT", "Lines in it."),
            ("loaded_at", "TIMESTAMPTZ", "When it was loaded."),
        ),
    ),
    "asked": (
        "Parents whose lists were read, where a list per parent is the only way.",
        (
            *_OWNER,
            ("object", "VARCHAR", "The object that the list holds."),
            ("parent", "VARCHAR", "Id of the parent, with what else the question was about."),
            ("asked_at", "TIMESTAMPTZ", "When, by Stripe's clock."),
        ),
    ),
    "version": ("Counts loads that changed a row.", (("version", "BIGINT", "Grows by one with each."),)),
    "built": (
        "The load that the models were last built from.",
        (("version", "BIGINT", "The number in sync.version then; -1 before the first build."),),
    ),
    "payout_transactions": (
        "Which balance transactions Stripe lists for each automatic payout.",
        (
            *_OWNER,
            ("payout", "VARCHAR", "Id of the payout."),
            ("balance_transaction", "VARCHAR", "Id of a balance transaction that it paid out."),
        ),
    ),
}


def table_columns(row: StripeObject) -> list[tuple[str, str, str]]:
    """(name, DuckDB type, description) of `stripe.<object>` without the columns that start with an underscore."""
    own = [(c.name, c.duckdb_type, c.description) for c in (*KEY, *columns(row.name))]
    parent = row.parent_column
    if parent and parent not in {name for name, _, _ in own}:
        own.insert(2, (parent, "VARCHAR", f"The {parent.replace('_', ' ')} that it belongs to."))
    return own


def ensure(con: duckdb.DuckDBPyConnection) -> None:
    """Make what is missing: schemas, tables, columns that a newer catalogue brings, and their comments. Idempotent."""
    for schema in SCHEMAS:
        con.execute(f"create schema if not exists {schema}")
    have: dict[tuple[str, str], set[str]] = {}
    for schema, table, column in con.execute(
        "select schema_name, table_name, column_name from duckdb_columns() "
        "where database_name = current_database() and schema_name in ('stripe', 'sync')"
    ).fetchall():
        have.setdefault((schema, table), set()).add(column)
    statements: list[str] = []
    for row in CATALOGUE.values():
        own = table_columns(row)
        statements += _table(have, "stripe", row.name, row.description, [*own, *META])
        if row.history:
            text = f"{row.description} Every version that differs, with the time in which it held."
            statements += _table(have, "stripe", f"{row.name}_history", text, [*own, *HISTORY_META])
        statements += _table(have, "sync", f"cursor_{row.name}", f"How far {row.name} were read.", list(_CURSOR))
    for name, (text, wanted) in _SYNC.items():
        statements += _table(have, "sync", name, text, list(wanted))
    if ("sync", "version") not in have:
        statements += ["insert into sync.version values (0)", "insert into sync.built values (-1)"]
    if statements:
        con.execute("begin")
        con.execute(";\n".join(statements))
        con.execute("commit")


def _table(
    have: dict[tuple[str, str], set[str]], schema: str, name: str, text: str, wanted: list[tuple[str, str, str]]
) -> list[str]:
    known = have.get((schema, name))
    full = f'{schema}."{name}"'
    if known is None:
        body = ", ".join(f'"{column}" {type_}{_COMPRESSION.get(type_, "")}' for column, type_, _ in wanted)
        made = [f"create table {full} ({body})", f"comment on table {full} is {_text(text)}"]
    else:
        wanted = [row for row in wanted if row[0] not in known]
        made = [f'alter table {full} add column "{column}" {type_}' for column, type_, _ in wanted]
    return made + [f'comment on column {full}."{column}" is {_text(words)}' for column, _, words in wanted]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
