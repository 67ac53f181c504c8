"""A warehouse file that an older version made: columns, types and histories become what the catalogue says now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from warehouse_world import Bench, at, charge, event, item, subscription

from dagster_project.stripe_api import catalog
from dagster_project.stripe_api.catalog import Column
from dagster_project.warehouse.rebuild import rebuild
from dagster_project.warehouse.schema import ensure


@contextmanager
def newer(object: str, *changed: Column) -> Iterator[None]:
    """The catalogue as a later SDK might bring it."""
    fields = catalog._columns()
    names = {column.name for column in changed}
    later = {**fields, object: (*(c for c in fields[object] if c.name not in names), *changed)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "_columns", lambda: later)
        yield


def migrate(bench: Bench) -> None:
    with bench.warehouse.connect() as con:
        ensure(con)


def busy(bench: Bench) -> None:
    """One charge that was seen once, one with two versions, one deleted field."""
    bench.load("charges", [charge("ch_1", mood={"level": 7}), charge("ch_2", mood="calm", description="a")], 10)
    bench.load("charges", [charge("ch_2", mood="wild", description="b")], 20)


HISTORY = "select * exclude (_content_hash) from stripe.charges_history order by id, valid_from"


def test_a_new_column_is_filled_from_the_payloads_and_is_no_drift_any_more(bench: Bench) -> None:
    busy(bench)
    assert bench.rows("select field from sync.drift") == [("mood",)]
    with newer("charges", Column("mood", "json", "How it felt.")):
        migrate(bench)
        assert bench.rows("select id, mood ->> '$', mood ->> '$.level' from stripe.charges order by 1") == [
            ("ch_1", '{"level":7}', "7"),
            ("ch_2", "wild", None),
        ]
        assert bench.rows("select id, mood ->> '$' from stripe.charges_history order by id, valid_from") == [
            ("ch_1", '{"level":7}'),
            ("ch_2", "calm"),
            ("ch_2", "wild"),
        ]
        assert bench.rows("select field from sync.drift") == []
        told = "select comment from duckdb_columns() where column_name = 'mood' and schema_name = 'stripe'"
        assert bench.rows(told) == [("How it felt.",), ("How it felt.",)]
        bench.load("charges", [charge("ch_2", mood="wild", description="c")], 30)
        assert bench.rows(
            "select description, valid_from from stripe.charges_history where id = 'ch_2' order by 2"
        ) == [
            ("a", at(10)),
            ("b", at(20)),
            ("c", at(30)),
        ]


def test_a_changed_type_is_taken_from_the_payloads_again(bench: Bench) -> None:
    busy(bench)
    with newer("charges", Column("amount", "decimal", "How much."), Column("description", "json", "What for.")):
        migrate(bench)
        found = "select distinct typeof(amount), amount::varchar, typeof(description) from {}"
        for table in ("stripe.charges", "stripe.charges_history"):
            assert bench.one(found.format(table)) == ("DECIMAL(38,12)", "1000.000000000000", "JSON")
        assert bench.one("select description ->> '$' from stripe.charges where id = 'ch_2'") == "b"


def test_an_upgrade_that_changes_nothing_writes_nothing(bench: Bench) -> None:
    busy(bench)
    before = bench.warehouse.build.stat().st_size
    version = bench.rows(HISTORY)
    for _ in range(3):
        migrate(bench)
    assert bench.rows(HISTORY) == version
    assert bench.warehouse.build.stat().st_size == before


def test_a_history_that_was_a_table_of_whole_rows_is_taken_over(bench: Bench) -> None:
    busy(bench)
    before = bench.rows(HISTORY)
    with bench.warehouse.connect() as con:
        con.execute("create table held as from stripe.charges_history")
        con.execute("drop view stripe.charges_history; drop table sync.version_charges; drop table sync.single_charges")
        con.execute("create table stripe.charges_history as from held; drop table held")
        con.execute("alter table stripe.charges_history drop column receipt_email")
        ensure(con)
    assert bench.rows(HISTORY) == before
    bench.load("charges", [charge("ch_1", mood={"level": 7})], 25)
    bench.load("charges", [charge("ch_1", amount=2)], 30)
    assert bench.rows(
        "select amount, valid_from, valid_to from stripe.charges_history where id = 'ch_1' order by 2"
    ) == [
        (1000, at(10), at(30)),
        (2, at(30), None),
    ]


def test_landed_files_of_older_versions_still_rebuild(bench: Bench) -> None:
    batches = [
        bench.land("events", [event("evt_1", 5, "charge.succeeded", charge("ch_1"))], 9, "event"),
        bench.land("charges", [charge("ch_1", old_field=1)], 10),
        bench.land("subscriptions", [subscription("sub_1", item("si_1", "sub_1"))], 11),
    ]
    for batch in batches:
        manifest = batch.path.with_name(batch.path.name.removesuffix(".jsonl.zst") + ".manifest.json")
        told = json.loads(manifest.read_text())
        told = {key: value for key, value in told.items() if key != "window"} | {"api_version": "2024-06-20"}
        manifest.write_text(json.dumps(told))
    rebuild(bench.warehouse, bench.landing)
    assert bench.rows("select id, _api_version from stripe.charges") == [("ch_1", "2024-06-20")]
    assert bench.rows("select object, field from sync.drift") == [("charges", "old_field")]
    assert bench.rows("select id, valid_from from stripe.charges_history") == [("ch_1", at(5))]
    assert bench.rows("select id from stripe.subscription_items") == [("si_1",)]
