"""Tables of the warehouse, generated from the catalogue: `stripe.<object>`, its history, and the state of the sync.

No primary keys, indexes or sequences: a lake lacks them, and DuckDB's indexes have open recovery bugs. Uniqueness is
checked at each load.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, Column, StripeObject, columns
from dagster_project.warehouse.typed import fingerprint, from_payload

SCHEMAS = ("stripe", "sync", "ops", "seeds", "staging", "intermediate", "marts", "outcomes")

KEY = (
    Column("account_id", "text", "The Stripe account; part of every key."),
    Column("livemode", "boolean", "True for real money, false for test data; part of every key."),
)
META = (
    ("_payload", "JSON", "The object as Stripe sent it."),
    ("_api_version", "VARCHAR", "API version in which it was sent."),
    ("_observed_at", "TIMESTAMPTZ", "When Stripe was asked for it, by Stripe's clock."),
    (
        "_source",
        "VARCHAR",
        "How it was read: list, read, sweep, event, absent; or invoice, where nothing else names it.",
    ),
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
_Existing = dict[tuple[str, str], dict[str, str]]
_SHORT = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
_SINGLE = {"valid_from", "_valid_from_is_exact", "_source", "_observed_at"}

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
            ("read_at", "TIMESTAMPTZ", "When the run ended, by Stripe's clock; null for days added up and for audits."),
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
    "days": (
        "What the warehouse holds per object and created-day; kept up to date with what is loaded.",
        (
            *_OWNER,
            ("object", "VARCHAR", "The object, as its table is called."),
            ("via", "VARCHAR", "The object in whose list it is read: itself, or the parent of a child."),
            ("day", "DATE", "UTC day of `created`, a child's that of its parent; null where there is none."),
            ("rows", "BIGINT", "Living rows."),
            ("checksum", "BIGINT", "Sum of the rows' fingerprints, modulo 2^60."),
            ("stamp", "BIGINT", "Sums up when each row was read; it tells that the day must be counted again."),
            ("newest", "TIMESTAMPTZ", "When the last of its rows was read, by Stripe's clock."),
        ),
    ),
    "counted": (
        "Which loads `sync.days` has seen.",
        (
            ("object", "VARCHAR", "The object, as its table is called."),
            ("files", "BIGINT", "Landed files that had been loaded of it and of what it arrives in."),
        ),
    ),
    "proofs": (
        "What Stripe showed when a day was read once more to compare it with the warehouse.",
        (
            *_OWNER,
            ("object", "VARCHAR", "The object, as its table is called."),
            ("via", "VARCHAR", "The object in whose list it was read: itself, or the parent of a child."),
            ("day", "DATE", "UTC day of `created`, a child's that of its parent; null where there is none."),
            ("rows_stripe", "BIGINT", "Rows at Stripe."),
            ("checksum_stripe", "BIGINT", "Sum of the fingerprints of Stripe's rows, modulo 2^60."),
            ("rows_warehouse", "BIGINT", "Living rows of the warehouse then."),
            ("checksum_warehouse", "BIGINT", "Sum of their fingerprints then, modulo 2^60."),
            ("agreed", "BOOLEAN", "Whether they were equal, row by row."),
            ("method", "VARCHAR", "How it was read: audit."),
            ("compared_at", "TIMESTAMPTZ", "When the reading began, by Stripe's clock."),
            ("proven_at", "TIMESTAMPTZ", "When a reading last agreed; null if none ever did."),
            ("requests", "BIGINT", "Answers of Stripe that held rows of the day; at least one."),
        ),
    ),
    "gaps": (
        "Days whose changes may have been missed: the account was not read for longer than Stripe keeps events.",
        (
            *_OWNER,
            ("object", "VARCHAR", "The object, as its table is called."),
            ("first_day", "DATE", "Earliest day."),
            ("last_day", "DATE", "Latest day."),
            ("noted_at", "TIMESTAMPTZ", "When it was found, by Stripe's clock."),
        ),
    ),
    "metric_policies": (
        "The policies by which MRR is counted; what the keys mean: dbt/DECISIONS.md.",
        (
            ("account_id", "VARCHAR", "The account; null where it holds for every account without rows of its own."),
            ("policy_hash", "VARCHAR", "Fingerprint of the policy, in every number that it produced."),
            ("profile", "VARCHAR", "Name of the profile or file."),
            ("is_default", "BOOLEAN", "True for the policy whose numbers are reported."),
            ("statuses", "VARCHAR[]", "Statuses that carry MRR."),
            ("discounts_forever", "VARCHAR", "Discounts that never end: subtract or ignore."),
            (
                "discounts_repeating",
                "VARCHAR",
                "Discounts of some months: subtract_in_force, ignore or cover_invoiced_period.",
            ),
            ("discounts_once", "VARCHAR", "Discounts of one invoice: ignore or subtract_first_period."),
            ("churn_timing", "VARCHAR", "When a cancellation counts: ended_at, canceled_at or paid_through."),
            ("past_due_grace_days", "INTEGER", "Days after which past_due stops counting; null for never."),
            ("pause_void", "VARCHAR", "While a pause voids invoices: exclude or count."),
            ("pause_mark_uncollectible", "VARCHAR", "While a pause marks invoices uncollectible: exclude or count."),
            ("pause_keep_as_draft", "VARCHAR", "While a pause keeps invoices as drafts: exclude or count."),
            ("metered", "VARCHAR", "Usage-based prices: exclude or trailing_invoice."),
            ("day_numerator", "BIGINT", "Factor that brings one day to a month, numerator."),
            ("day_denominator", "BIGINT", "Factor that brings one day to a month, denominator."),
            ("week_numerator", "BIGINT", "Factor that brings one week to a month, numerator."),
            ("week_denominator", "BIGINT", "Factor that brings one week to a month, denominator."),
            ("month_numerator", "BIGINT", "Factor that brings one month to a month, numerator."),
            ("month_denominator", "BIGINT", "Factor that brings one month to a month, denominator."),
            ("year_numerator", "BIGINT", "Factor that brings one year to a month, numerator."),
            ("year_denominator", "BIGINT", "Factor that brings one year to a month, denominator."),
            ("timezone", "VARCHAR", "Time zone of month edges."),
            ("effective_from", "VARCHAR", "From when a backdated subscription counts: start_date or created."),
            ("activation", "VARCHAR", "From when a subscription counts: status or first_payment."),
            ("movement_grain", "VARCHAR", "What a movement is: month_snapshot or event."),
            ("reactivation_window_days", "INTEGER", "Days after which a return counts as new; null for never."),
            ("trial_after_paid", "VARCHAR", "A trial of a paying subscription: exclude or hold."),
            ("inclusive_tax", "VARCHAR", "Tax inside the price: strip or ignore."),
            ("fx", "VARCHAR", "Rates of the reporting currency: month_end_rate or frozen_at_change."),
            ("rounding", "VARCHAR", "How amounts are rounded."),
            ("quick_ratio_include_reactivation", "BOOLEAN", "Whether the quick ratio counts reactivations."),
            ("logo_churn_formula", "VARCHAR", "start_of_period or stripe_30d."),
            ("trial_conversion_success", "VARCHAR", "paid_invoice or active."),
            ("trial_conversion_denominator", "VARCHAR", "trials_ended or trials_started."),
            ("ltv_gross_margin_numerator", "BIGINT", "Gross margin in LTV, numerator; null for none."),
            ("ltv_gross_margin_denominator", "BIGINT", "Gross margin in LTV, denominator; null for none."),
            ("exclude_products", "VARCHAR[]", "Products that carry no MRR."),
            ("customer_key", "JSON", "Stripe customers that count as another one."),
            ("reporting_currency", "VARCHAR", "Currency of the reports; null for the account's."),
        ),
    ),
    "fx_rates": (
        "Exchange rates, in major units.",
        (
            ("account_id", "VARCHAR", "The account; null where it holds for all."),
            ("source", "VARCHAR", "file (the user's) or ecb (reference rates of the European Central Bank)."),
            ("day", "DATE", "The day of the rate."),
            ("currency", "VARCHAR", "Currency code, lower case."),
            ("to_currency", "VARCHAR", "Currency code, lower case."),
            ("rate", "DECIMAL(38,12)", "What one unit of the first is worth in units of the second."),
            ("note", "VARCHAR", "The edition that the rates are from."),
        ),
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
    """Make what is missing and bring what is older to what the catalogue says, all or nothing. Idempotent.

    A column that is new, or has another type than before, is filled from the payloads that are there.
    """
    for schema in SCHEMAS:
        con.execute(f"create schema if not exists {schema}")
    have = _existing(con)
    statements: list[str] = []
    for row in CATALOGUE.values():
        own, filled = table_columns(row), {column.name: from_payload(column) for column in columns(row.name)}
        made = _table(have, "stripe", row.name, row.description, [*own, *META], filled)
        if ("stripe", row.name) in have and made:
            known = ", ".join(f"'{name}'" for name in filled)
            made.append(f"delete from sync.drift where object = '{row.name}' and field in ({known})")
        statements += made
        if row.history:
            statements += _history(have, row, filled, stale=bool(made))
        statements += _table(have, "sync", f"cursor_{row.name}", f"How far {row.name} were read.", list(_CURSOR))
    state: list[str] = []
    for name, (text, wanted) in _SYNC.items():
        state += _table(have, "sync", name, text, list(wanted))
    if ("sync", "version") not in have:
        state += ["insert into sync.version values (0)", "insert into sync.built values (-1)"]
    if state or statements:
        con.execute("begin")
        con.execute(";\n".join(state + statements))
        con.execute("commit")


def _existing(con: duckdb.DuckDBPyConnection) -> _Existing:
    """Columns and their types, by schema and table; a view has none of its own."""
    have: _Existing = {}
    for schema, table, column, type_ in con.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() as c semi join duckdb_tables() "
        "as t on t.table_oid = c.table_oid and t.database_oid = c.database_oid and t.schema_oid = c.schema_oid "
        "where database_name = current_database() and schema_name in ('stripe', 'sync')"
    ).fetchall():
        have.setdefault((schema, table), {})[column] = _SHORT.get(type_, type_)
    for view in con.execute(
        "select view_name from duckdb_views() where database_name = current_database() and schema_name = 'stripe'"
    ).fetchall():
        have["stripe", view[0]] = {}
    return have


def _history(have: _Existing, row: StripeObject, filled: Mapping[str, str], *, stale: bool) -> list[str]:
    """Two tables of versions (versions.py says why) and the view over them that everybody reads."""
    own, name, kept = table_columns(row), f"{row.name}_history", f"sync.version_{row.name}"
    view = f'stripe."{name}"'
    single = [column for column in own if column[0] in ("account_id", "livemode", "id")]
    single += [column for column in HISTORY_META if column[0] in _SINGLE]
    text = f"Versions of {row.name} that have several."
    made = _table(have, "sync", f"version_{row.name}", text, [*own, *HISTORY_META], filled)
    if made and ("sync", f"version_{row.name}") in have:  # content that is compared must be hashed in one way
        made.append(f"alter table {kept} alter column _content_hash set data type varchar using {fingerprint(row)}")
    if before := have.get(("stripe", name)):  # once a table of whole rows
        shared = [c for c, type_, _ in [*own, *HISTORY_META] if before.get(c) == type_ and c != "_content_hash"]
        there = ", ".join(f'"{c}"' for c in shared)
        rest = [(c, filled.get(c, "null")) for c, _, _ in own if c not in shared]
        made.append(
            f"insert into {kept} ({', '.join([there, *(c for c, _ in rest), '_content_hash'])}) "
            f"select *, {fingerprint(row)} from "
            f"(select {', '.join([there, *(f'{value} as {c}' for c, value in rest)])} from {view})"
        )
        made.append(f"drop table {view}")
    made += _table(have, "sync", f"single_{row.name}", f"{row.name} whose only version is their row.", single)
    if not (made or stale) and ("stripe", name) in have:
        return []
    listed = ", ".join(f'"{column}"' for column, _, _ in own)
    whole = ", ".join(f't."{column}"' for column, _, _ in own)
    made.append(
        f"""
        create or replace view {view} as
        select {listed}, _payload, valid_from, valid_to, _valid_from_is_exact, _source, _observed_at, _content_hash
        from {kept}
        union all
        select {whole}, t._payload, s.valid_from, null::timestamptz, s._valid_from_is_exact, s._source, s._observed_at,
               t._content_hash
        from sync.single_{row.name} as s
        join (select {listed}, _payload, {fingerprint(row)} as _content_hash from stripe."{row.name}") as t
            on t.account_id = s.account_id and t.livemode = s.livemode and t.id = s.id
        """
    )
    text = f"{row.description} Every version that differs, with the time in which it held."
    made.append(f"comment on view {view} is {_text(text)}")
    return made + [f'comment on column {view}."{c}" is {_text(words)}' for c, _, words in [*own, *HISTORY_META]]


def _table(
    have: _Existing,
    schema: str,
    name: str,
    text: str,
    wanted: list[tuple[str, str, str]],
    filled: Mapping[str, str] | None = None,
) -> list[str]:
    """`filled`: what fills a column that rows do not have yet, or have in another type."""
    known, filled = have.get((schema, name)), filled or {}
    full = f'{schema}."{name}"'
    if known is None:
        body = ", ".join(f'"{column}" {type_}{_COMPRESSION.get(type_, "")}' for column, type_, _ in wanted)
        made = [f"create table {full} ({body})", f"comment on table {full} is {_text(text)}"]
        return made + [f'comment on column {full}."{column}" is {_text(words)}' for column, _, words in wanted]
    made = []
    for column, type_, words in wanted:
        if column not in known:
            made.append(f'alter table {full} add column "{column}" {type_}')
            made.append(f'comment on column {full}."{column}" is {_text(words)}')
        if column in filled and known.get(column) != type_:
            made.append(f'alter table {full} alter column "{column}" set data type {type_} using {filled[column]}')
    return made


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
