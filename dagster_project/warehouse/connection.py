"""The build file: where it is, and the only place that opens it.

DuckDB allows one writing process and no readers beside it, so the file is opened late and closed early, never across a
network call. Readers use published versions (publish.py).
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from dagster_project.errors import StorageError, WarehouseError, WarehouseLocked

# A second connection within one process is refused by DuckDB in other words than one of another process.
_IN_USE = re.compile(r"\block\b|Unique file handle conflict", re.IGNORECASE)
_SETTINGS = (
    # What is loaded at once is less than the row group by which DuckDB shares work out; a second thread only adds to
    # the memory, and where memory is contended it made a backfill slower (35 s of one core became 44 s of two).
    "set threads = 1; set memory_limit = '800MB'; set TimeZone = 'UTC'; set zstd_min_string_length = 512; "
    # A checkpoint would merge row groups in which rows were replaced, and so write a large table again, with as much
    # memory, for a few changes. `ledgerline rebuild` gives the room of replaced rows back.
    "set max_vacuum_tasks = 0"
)


class Warehouse:
    """Paths of one data directory: `build` is written, `published` is the link that readers open."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.build = data_dir / "build" / "warehouse.duckdb"
        self.published = data_dir / "warehouse.duckdb"
        self.versions = data_dir / "published"

    @contextmanager
    def connect(self, *, read_only: bool = False, wait: float = 5.0) -> Iterator[duckdb.DuckDBPyConnection]:
        """The build file, made if missing. Waits up to `wait` seconds for another process to leave it.

        Raises WarehouseLocked that names the other process, StorageError when the file cannot be written,
        WarehouseError when it is no warehouse.
        """
        with open_file(self.build, read_only=read_only and self.build.exists(), wait=wait) as con:
            yield con


@contextmanager
def open_file(path: Path, *, read_only: bool, wait: float = 5.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a warehouse file under the catalog name `warehouse`; errors as in `Warehouse.connect`.

    What was committed is durable when the block ends. A process that is killed before leaves the file as it found it,
    or as one of its commits left it: DuckDB writes the file in between, too, once much was committed.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            con = _open(path, read_only)
            break
        except (duckdb.Error, OSError) as error:
            text = str(error)
            if not _IN_USE.search(text):
                raise _translated(path, error) from error
            if time.monotonic() >= deadline:
                holder = re.search(r"PID (\d+)", text)
                raise WarehouseLocked(
                    f"{path} is in use by the process with PID {holder[1] if holder else os.getpid()}.",
                    "Wait until that run ends, or end it; readers use warehouse.duckdb in the data directory.",
                ) from error
            time.sleep(0.1)
    try:
        yield con
        if not read_only:
            con.execute("checkpoint warehouse")  # closing does it too, but says nothing when it fails
    except duckdb.Error as error:
        # Where a commit writes the file and has no room, DuckDB calls that a failed transaction.
        if isinstance(error, duckdb.IOException) or "Checkpoint failed" in str(error):
            raise _translated(path, error) from error
        raise
    finally:
        con.close()


def _open(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    path.parent.mkdir(parents=True, exist_ok=True)
    con = duckdb.connect(":memory:")
    # No write-ahead log: what it would repeat can be loaded again from landing, and writing every row once more,
    # without compression, took a third of a load.
    mode = "read_only" if read_only else "storage_version 'v1.2.0', recovery_mode no_wal_writes"
    try:
        con.execute(_SETTINGS)
        con.execute(f"set temp_directory = '{_quoted(path)}.tmp'")
        if not read_only and path.with_name(path.name + ".wal").exists():  # another program was killed: take in its log
            con.execute(f"attach '{_quoted(path)}' as warehouse; checkpoint warehouse; detach warehouse")
        con.execute(f"attach '{_quoted(path)}' as warehouse ({mode})")
        con.execute("use warehouse")
    except BaseException:
        con.close()
        raise
    return con


def _translated(path: Path, error: Exception) -> Exception:
    text = str(error)
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text
    refused = r"Permission denied|Read-only file system|File too large|quota exceeded"
    if full or isinstance(error, OSError) or re.search(refused, text):
        cause = "the disk is full" if full else "it cannot be written"
        return StorageError(
            f"{path}: {cause}.", "Free some space or give this user the right to write, then run again."
        )
    return WarehouseError(f"{path}: {text.splitlines()[0]}", "If it is damaged: `ledgerline rebuild` makes it again.")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
