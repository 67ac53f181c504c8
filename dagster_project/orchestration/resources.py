"""What assets are given: the settings, and the stores that follow from them.

A plain object, not run configuration: settings hold secrets, and run configuration is stored and shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dagster_project.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dagster_project.stripe_api.sync import Progress
    from dagster_project.warehouse.connection import Warehouse


@dataclass
class Pipeline:
    """`progress` is where a person watches (the command line's bars); without it assets write to the run's log."""

    settings: Settings
    progress: Progress | None = None

    @cached_property
    def warehouse(self) -> Warehouse:
        from dagster_project.warehouse.connection import Warehouse

        return Warehouse(self.settings.data_dir)

    @contextmanager
    def ops(self) -> Iterator[Engine]:
        """The ops database, closed afterwards."""
        from dagster_project.ops.database import open_ops

        engine = open_ops(self.settings)
        try:
            yield engine
        finally:
            engine.dispose()
