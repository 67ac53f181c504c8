"""Publishing: a checked build becomes the version that readers see, in one atomic step.

Each version has a folder of its own, because DuckDB names the catalog after the file and keeps an open database by
path: replacing a file under one name would leave connections of a process silently on old data.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from dagster_project.errors import StorageError, WarehouseError
from dagster_project.warehouse.connection import Warehouse, open_file

_KEEP = 3


@dataclass(frozen=True)
class Publication:
    """`data_until`: until when the data is known, by Stripe's clock; `checksum`: SHA-256 of the copied build."""

    number: int
    path: Path
    published_at: datetime
    data_until: datetime
    checksum: str


def publish(warehouse: Warehouse, *, data_until: datetime) -> Publication:
    """Copy the build to a new version, check that it opens, and switch the readers' link to it.

    Raises StorageError when there is no room or right to write; the version that readers have stays as it is.
    """
    # By names alone: whoever holds the present version open for writing must not hold up the next one.
    before = warehouse.published.resolve().parent.name if warehouse.published.exists() else "none"
    number = max(_numbers(warehouse), default=0) + 1
    folder = warehouse.versions / str(number)
    unfinished = warehouse.versions / f".{number}.tmp"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        target = unfinished / "warehouse.duckdb"
        with warehouse.connect() as con:  # held while copying, so that nobody writes meanwhile
            con.execute("checkpoint")
            checksum = _copy(warehouse.build, target)
        publication = Publication(number, folder / "warehouse.duckdb", datetime.now(UTC), data_until, checksum)
        with open_file(target, read_only=False) as con:
            _record(con, publication)
        with open_file(target, read_only=True) as con:
            con.execute("select number from ops.publication").fetchone()
        target.chmod(0o444)  # a client that forgets read_only must not lock or change what others read
        _sync(target)
        unfinished.rename(folder)
        unfinished = folder
        _sync(warehouse.versions)
        link = warehouse.data_dir / f".warehouse.duckdb.{number}"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("published") / str(number) / "warehouse.duckdb")
        link.replace(warehouse.published)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        cause = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise StorageError(
            f"Version {number} could not be published: {cause}. Readers keep version {before}.",
            "Free some space or give this user the right to write, then run `ledgerline refresh`.",
        ) from error
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync(warehouse.data_dir)
    _clean(warehouse, number)
    return publication


def current(warehouse: Warehouse) -> Publication | None:
    """The version that the link leads to, or None before the first. Raises WarehouseError when it cannot be read."""
    if not warehouse.published.exists():
        return None
    path = warehouse.published.resolve()
    try:
        with open_published(path) as con:
            row = con.execute("select number, published_at, data_until, checksum from ops.publication").fetchone()
    except duckdb.Error as error:
        raise WarehouseError(
            f"{path} cannot be read: {str(error).splitlines()[0]}", "Run `ledgerline refresh`."
        ) from error
    if row is None:
        return None
    return Publication(int(row[0]), path, row[1], row[2], row[3])


def untouched(publication: Publication) -> bool:
    """False when somebody wrote to the published file afterwards (the superuser may, in spite of its mode)."""
    return publication.path.stat().st_mtime <= publication.published_at.timestamp() + 60


@contextmanager
def reading(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the published version. Raises WarehouseError before the first publication."""
    if not warehouse.published.exists():
        raise WarehouseError("Nothing is published yet.", "Run `ledgerline refresh`.")
    with open_published(warehouse.published.resolve()) as con:
        yield con


def open_published(path: Path) -> duckdb.DuckDBPyConnection:
    """A published file as any reader opens it, with times in UTC."""
    con = duckdb.connect(str(path), read_only=True)
    con.execute("set TimeZone = 'UTC'")
    return con


def _record(con: duckdb.DuckDBPyConnection, publication: Publication) -> None:
    con.execute(
        "create or replace table ops.publication "
        "(number bigint, published_at timestamptz, data_until timestamptz, checksum varchar)"
    )
    con.execute(
        "comment on table ops.publication is 'Which published version this file is, and until when its data goes.'"
    )
    for column, text in (
        ("number", "Counts publications."),
        ("published_at", "When it was published."),
        ("data_until", "Until when the data is known, by Stripe''s clock."),
        ("checksum", "SHA-256 of the build that was published."),
    ):
        con.execute(f"comment on column ops.publication.{column} is '{text}'")
    con.execute(
        "insert into ops.publication values (?, ?, ?, ?)",
        [publication.number, publication.published_at, publication.data_until, publication.checksum],
    )
    con.execute("checkpoint")


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(4 * 1024 * 1024):
            digest.update(block)
            write.write(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _numbers(warehouse: Warehouse) -> list[int]:
    if not warehouse.versions.is_dir():
        return []
    return [int(path.name) for path in warehouse.versions.iterdir() if path.name.isdigit()]


def _clean(warehouse: Warehouse, newest: int) -> None:
    """Keep the newest versions and those that a process still has open."""
    held = _open_files()
    for number in _numbers(warehouse):
        folder = warehouse.versions / str(number)
        if number <= newest - _KEEP and str((folder / "warehouse.duckdb").resolve()) not in held:
            shutil.rmtree(folder, ignore_errors=True)
    for leftover in warehouse.versions.glob(".*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _open_files() -> set[str]:
    """Files that any process has open, where the system tells (Linux); elsewhere nothing, and age alone decides."""
    found: set[str] = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue
    return found
