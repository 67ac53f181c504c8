"""Opening the ops database: create it, refuse what a newer Ledgerline made, write in short exclusive transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from dagster_project.errors import SettingError, StorageError
from dagster_project.ops.tables import metadata, schema_version
from dagster_project.settings import Settings

VERSION = 1
_BUSY_MS = 30_000
_LOCK = 7_232_001  # advisory lock of PostgreSQL under which the tables are made


def open_ops(settings: Settings) -> Engine:
    """The engine of the ops database, its tables made when they are missing.

    Raises SettingError for a URL that cannot be used, StorageError when the database cannot be opened or was made by a
    newer Ledgerline.
    """
    try:
        url = make_url(settings.ops_url)
        if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise SettingError(
            f"LEDGERLINE_OPS_URL cannot be used ({type(error).__name__}).",
            "Use sqlite:///PATH, or postgresql+psycopg://… with that driver installed.",
        ) from error
    except OSError as error:
        raise StorageError(f"{settings.data_dir}: {error.strerror}.", "Give this user the right to write.") from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    try:
        _create(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        cause = str(getattr(error, "orig", error)).splitlines()[0]
        raise StorageError(
            f"The ops database ({engine.dialect.name}) cannot be opened: {cause}.",
            "Check LEDGERLINE_OPS_URL, the disk, and the right to write.",
        ) from error
    except StorageError:
        engine.dispose()
        raise
    return engine


@contextmanager
def exclusive(engine: Engine) -> Iterator[Connection]:
    """A write transaction: on SQLite BEGIN IMMEDIATE, so that what is read in it cannot change before it is written."""
    with engine.connect().execution_options(ledgerline_begin="BEGIN IMMEDIATE") as connection, connection.begin():
        yield connection


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN comes too late (before the first write), and would turn a read into a stale snapshot.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def began(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("ledgerline_begin", "BEGIN"))


def _create(engine: Engine) -> None:
    if not inspect(engine).has_table(schema_version.name):
        with exclusive(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            if not inspect(connection).has_table(schema_version.name):
                metadata.create_all(connection)
                connection.execute(schema_version.insert().values(version=VERSION))
    with engine.connect() as connection:
        found = connection.execute(select(schema_version.c.version)).scalar_one()
    if found > VERSION:
        raise StorageError(
            f"The ops database has schema version {found}; this Ledgerline knows up to {VERSION}.",
            "Upgrade Ledgerline, or point LEDGERLINE_OPS_URL to another database.",
        )
