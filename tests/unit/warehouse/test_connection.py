"""Opening the build file: one writer, named when it is in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from warehouse_world import Bench, no_room_beyond

from dagster_project.errors import StorageError, WarehouseError, WarehouseLocked
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure


def test_a_second_writer_is_told_who_writes(bench: Bench) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c",
         "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('ready', flush=True); sys.stdin.read()",
         str(bench.warehouse.build)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(WarehouseLocked, match=rf"PID {holder.pid}\)?\b"), bench.warehouse.connect(wait=0.2):
            pass
    finally:
        holder.stdin.close()
        holder.wait(30)
        holder.stdout.close()
    with bench.warehouse.connect(wait=0) as con:
        assert con.execute("select count(*) from stripe.charges").fetchone() == (0,)


def test_a_second_connection_of_this_process_waits_too(bench: Bench) -> None:
    with (
        bench.warehouse.connect(),
        pytest.raises(WarehouseLocked, match=f"PID {os.getpid()}"),
        bench.warehouse.connect(wait=0.2),
    ):
        pass


def run(bench: Bench, attach: str, then: str) -> None:
    """Another program that dies with the file open."""
    code = (
        "import duckdb, os, sys; con = duckdb.connect(); "
        f"con.execute(f\"attach '{{sys.argv[1]}}' as warehouse {attach}\"); {then}; os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(bench.warehouse.build)], timeout=60).returncode == 9


def test_a_writer_that_is_killed_leaves_the_file_as_it_found_it(bench: Bench) -> None:
    before = bench.warehouse.build.read_bytes()
    code = (
        "import os, sys; from pathlib import Path; from dagster_project.warehouse.connection import Warehouse\n"
        "with Warehouse(Path(sys.argv[1])).connect() as con:\n"
        "    con.execute('update sync.version set version = 77'); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(bench.folder)], timeout=60).returncode == 9
    assert bench.warehouse.build.read_bytes() == before
    assert [path.name for path in bench.warehouse.build.parent.iterdir()] == ["warehouse.duckdb"]
    assert bench.one("select version from sync.version") == 0


def test_a_writer_that_is_killed_after_the_file_was_written_in_between_leaves_whole_commits(bench: Bench) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dagster_project.warehouse.connection import Warehouse\n"
        "with Warehouse(Path(sys.argv[1])).connect() as con:\n"
        "    con.execute(\"set checkpoint_threshold = '1KB'\")\n"
        "    con.execute('begin; update sync.version set version = 77')\n"
        "    con.execute('insert into sync.loads select range, null, 1, now() from range(60000); commit')\n"
        "    con.execute(\"set checkpoint_threshold = '1GB'\")\n"
        "    con.execute('update sync.version set version = 78')\n"
        "    con.execute('begin; delete from sync.loads'); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(bench.folder)], timeout=60).returncode == 9
    assert bench.one("select version, (select count(*) from sync.loads) from sync.version") == (77, 60_000)


@pytest.mark.parametrize("threshold", ["1KB", "1GB"], ids=["by a commit", "at the end"])
def test_no_room_to_write_what_was_committed_is_a_storage_error_and_loses_nothing_else(
    bench: Bench, threshold: str
) -> None:
    def fill() -> None:
        with bench.warehouse.connect() as con:
            con.execute(f"set checkpoint_threshold = '{threshold}'")
            con.execute("begin; update sync.version set version = 7")
            con.execute("insert into sync.loads select sha256(range::varchar), null, 1, now() from range(60000)")
            con.execute("commit")

    with no_room_beyond(bench.warehouse.build.stat().st_size + 300_000), pytest.raises(StorageError):
        fill()
    found = "select version, (select count(*) from sync.loads) from sync.version"
    assert bench.one(found) == (0, 0)
    fill()
    assert bench.one(found) == (7, 60_000)


def test_what_a_killed_program_left_in_the_log_is_taken_in_before_anything_is_written(bench: Bench) -> None:
    log = bench.warehouse.build.with_name("warehouse.duckdb.wal")
    run(bench, "", "con.execute('update warehouse.sync.version set version = 5')")
    assert log.exists()
    with bench.warehouse.connect() as con:
        assert not log.exists()
        assert con.execute("select version from sync.version").fetchone() == (5,)
        con.execute("update sync.version set version = 6")
    assert bench.one("select version from sync.version") == 6


def test_what_is_committed_before_an_error_is_kept(bench: Bench) -> None:
    with pytest.raises(RuntimeError), bench.warehouse.connect() as con:
        con.execute("update sync.version set version = 8")
        raise RuntimeError
    assert bench.one("select version from sync.version") == 8


def test_the_file_is_called_warehouse_and_times_are_utc(bench: Bench) -> None:
    with bench.warehouse.connect(read_only=True) as con:
        assert con.execute("select current_catalog(), current_setting('TimeZone')").fetchone() == ("warehouse", "UTC")


def test_a_file_that_is_no_warehouse_says_how_to_make_it_again(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.build.parent.mkdir()
    warehouse.build.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseError, match="ledgerline rebuild"), warehouse.connect():
        pass


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"), Warehouse(tmp_path).connect():
        pass


def test_every_object_has_its_table_and_ensuring_twice_changes_nothing(bench: Bench) -> None:
    with bench.warehouse.connect() as con:
        ensure(con)
        names = {
            row[0]
            for row in con.execute(
                "select table_name from information_schema.tables where table_schema = 'stripe'"
            ).fetchall()
        }
        keys = con.execute("select count(*) from duckdb_constraints() where constraint_type <> 'NOT NULL'").fetchone()
        indexes = con.execute("select count(*) from duckdb_indexes()").fetchone()
    assert names == {*CATALOGUE, *(f"{name}_history" for name, row in CATALOGUE.items() if row.history)}
    assert (keys, indexes) == ((0,), (0,))


def test_a_column_that_a_newer_catalogue_brings_is_added(bench: Bench) -> None:
    with bench.warehouse.connect() as con:
        con.execute("alter table stripe.charges drop column description")
        ensure(con)
        found = con.execute(
            "select comment is not null from duckdb_columns() "
            "where table_name = 'charges' and column_name = 'description'"
        ).fetchone()
    assert found == (True,)
