"""Publishing, and what readers see while it happens."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import duckdb
import pytest
from warehouse_world import Bench, at, charge, no_room_beyond

from dagster_project.errors import StorageError
from dagster_project.warehouse.publish import current, publish


def set_amounts(bench: Bench, number: int) -> None:
    """Two tables that always say the same, so that a mix of two versions would show."""
    with bench.warehouse.connect() as con:
        con.execute("create or replace table marts.a as select ?::bigint as n from range(1000)", [number])
        con.execute("create or replace table marts.b as select ?::bigint as n", [number])


def seen(con: duckdb.DuckDBPyConnection) -> tuple[int, int, int]:
    row = con.execute(
        "select (select max(n) from marts.a), (select min(n) from marts.a), (select n from marts.b)"
    ).fetchone()
    assert row is not None
    return row


def test_the_link_leads_to_a_file_named_warehouse_that_says_which_version_it_is(bench: Bench) -> None:
    assert current(bench.warehouse) is None
    bench.load("charges", [charge("ch_1")], 10)
    first = publish(bench.warehouse, data_until=at(10))
    assert (first.number, first.data_until) == (1, at(10))
    assert bench.warehouse.published.is_symlink()
    assert bench.warehouse.published.readlink().as_posix() == "published/1/warehouse.duckdb"
    second = publish(bench.warehouse, data_until=at(20))
    assert current(bench.warehouse) == second
    assert second.number == 2
    with duckdb.connect(str(bench.warehouse.published), read_only=True) as con:
        assert con.execute("select current_catalog(), count(*) from stripe.charges").fetchone() == ("warehouse", 1)
        assert con.execute("select number, checksum from ops.publication").fetchone() == (2, second.checksum)
        bare = con.execute("select table_name from duckdb_columns() where comment is null and schema_name <> 'marts' "
                           "and database_name = 'warehouse' and not internal").fetchall()  # fmt: skip
    assert bare == []


def test_histories_are_read_in_the_published_file_under_any_name(bench: Bench) -> None:
    bench.load("charges", [charge("ch_1"), charge("ch_2")], 10)
    bench.load("charges", [charge("ch_2", amount=7)], 20)
    publish(bench.warehouse, data_until=at(20))
    asked = "select id, amount, valid_to, _content_hash is not null from {}stripe.charges_history order by 1, 3"
    expected = [("ch_1", 1000, None, True), ("ch_2", 1000, at(20), True), ("ch_2", 7, None, True)]
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(f"attach '{bench.warehouse.published.resolve()}' as other (read_only)")
        assert con.execute(asked.format("other.")).fetchall() == expected
        con.execute("create schema stripe; create table stripe.charges (id varchar)")  # not what the view reads
        assert con.execute(asked.format("other.")).fetchall() == expected


def test_readers_in_other_processes_meet_no_lock_and_no_mix_while_versions_are_published(bench: Bench) -> None:
    set_amounts(bench, 0)
    publish(bench.warehouse, data_until=at(0))
    reader = (
        "import duckdb, sys, time\n"
        "path, last, reads = sys.argv[1], -1, 0\n"
        "held = duckdb.connect(path, read_only=True)\n"
        "end = time.monotonic() + 60\n"
        "while last < 4 and time.monotonic() < end:\n"
        "    con = duckdb.connect(path, read_only=True) if reads else held\n"
        "    query = 'select max(a.n), min(a.n), max(b.n) from marts.a as a, marts.b as b'\n"
        "    high, low, other = con.execute(query).fetchone()\n"
        "    assert high == low == other >= last, (high, low, other, last)\n"
        "    last, reads = high, reads + 1\n"
        "    if con is not held: con.close()\n"
        "    assert held.execute('select n from marts.b').fetchone() == (0,)\n"
        "print(last, reads)\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", reader, str(bench.warehouse.published)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(0.5)
    for number in range(1, 5):
        set_amounts(bench, number)
        publish(bench.warehouse, data_until=at(number))
    out, err = running.communicate(timeout=90)
    assert running.returncode == 0, err
    last, reads = map(int, out.split())
    assert last == 4
    assert reads > 1


def test_a_reader_in_this_process_keeps_its_version_and_sees_the_new_one_after_reconnecting(bench: Bench) -> None:
    set_amounts(bench, 1)
    publish(bench.warehouse, data_until=at(1))
    held = duckdb.connect(str(bench.warehouse.published.resolve()), read_only=True)
    try:
        set_amounts(bench, 2)
        publish(bench.warehouse, data_until=at(2))
        assert seen(held) == (1, 1, 1)
        with duckdb.connect(str(bench.warehouse.published.resolve()), read_only=True) as fresh:
            assert seen(fresh) == (2, 2, 2)
    finally:
        held.close()


def test_the_newest_three_versions_stay_and_so_does_one_that_is_read(bench: Bench) -> None:
    publish(bench.warehouse, data_until=at(1))
    held = duckdb.connect(str(bench.warehouse.published.resolve()), read_only=True)
    try:
        for seconds in range(2, 7):
            publish(bench.warehouse, data_until=at(seconds))
        left = sorted(int(path.name) for path in bench.warehouse.versions.iterdir())
        assert left in ([1, 4, 5, 6], [4, 5, 6])
        assert (1 in left) == sys.platform.startswith("linux")
        assert held.execute("select number from ops.publication").fetchone() == (1,)
    finally:
        held.close()
    publish(bench.warehouse, data_until=at(7))
    assert sorted(int(path.name) for path in bench.warehouse.versions.iterdir()) == [5, 6, 7]


def test_without_room_readers_keep_the_version_that_they_have_and_nothing_is_left_behind(bench: Bench) -> None:
    set_amounts(bench, 1)
    before = publish(bench.warehouse, data_until=at(1))
    set_amounts(bench, 2)
    with no_room_beyond(64 * 1024), pytest.raises(StorageError, match="Readers keep version 1"):
        publish(bench.warehouse, data_until=at(2))
    assert current(bench.warehouse) == before
    assert [path.name for path in bench.warehouse.versions.iterdir()] == ["1"]
    assert publish(bench.warehouse, data_until=at(3)).number == 2


def test_a_place_that_cannot_be_written_is_a_storage_error(bench: Bench) -> None:
    bench.warehouse.versions.write_text("a file is in the way")
    with pytest.raises(StorageError, match="could not be published"):
        publish(bench.warehouse, data_until=at(1))
    assert current(bench.warehouse) is None


def test_publishing_waits_for_a_writer_of_the_same_process(bench: Bench) -> None:
    done = threading.Event()

    def write() -> None:
        with bench.warehouse.connect() as con:
            con.execute("create table marts.slow as select 1 as n")
            done.set()
            time.sleep(0.5)

    writer = threading.Thread(target=write)
    writer.start()
    done.wait(10)
    publication = publish(bench.warehouse, data_until=at(1))
    writer.join()
    with duckdb.connect(str(publication.path), read_only=True) as con:
        assert con.execute("select n from marts.slow").fetchone() == (1,)
