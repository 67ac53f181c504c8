"""A warehouse that follows a local Stripe: refreshes, rebuilds, and what it is compared with."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dagster_project.settings import Settings
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.report import SyncReport
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.publish import publish
from dagster_project.warehouse.rebuild import rebuild
from whole.local_stripe import LocalStripe
from whole.truth import differences
from whole.versions import wrong_versions

# Children fork from a server that has imported everything: quick, and without this process's threads.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["dagster_project.stripe_api.sync", "whole.following"])


def _settings(folder: Path, url: str) -> Settings:
    return Settings.load({"LEDGERLINE_DATA_DIR": str(folder)}, dotenv=folder / "no.env").replaced(STRIPE_API_BASE=url)


def _refresh(folder: Path, url: str) -> None:
    sync(_settings(folder, url), Warehouse(folder))


def _publish(folder: Path) -> None:
    publish(Warehouse(folder), data_until=datetime.now(UTC))


class Following:
    def __init__(self, stripe: LocalStripe, folder: Path, empty: Path) -> None:
        self.stripe, self.folder, self.empty = stripe, folder, empty
        self.warehouse = Warehouse(folder)
        self.since: int | None = None  # Stripe's time of the first reading
        if not self.warehouse.build.exists():
            self.warehouse.build.parent.mkdir(parents=True)
            shutil.copyfile(empty, self.warehouse.build)
        self.settings = _settings(folder, stripe.url)

    def refresh(
        self, *, objects: Sequence[str] | None = None, mode: Literal["incremental", "full"] = "incremental"
    ) -> SyncReport:
        if self.since is None:
            self.since = self.stripe.now
        return sync(self.settings, self.warehouse, objects=objects, mode=mode)

    def begin_anew(self) -> None:
        """As if nothing had ever been read."""
        shutil.rmtree(self.folder)
        self.warehouse.build.parent.mkdir(parents=True)
        shutil.copyfile(self.empty, self.warehouse.build)

    def rebuild(self) -> None:
        rebuild(self.warehouse, Landing(self.folder / "landing"))

    def beside(self, name: str) -> Following:
        """Another warehouse of the same Stripe, filled anew."""
        other = Following(self.stripe, self.folder.parent / name, self.empty)
        other.refresh()
        return other

    def differences(self, *, swept: bool = True) -> list[str]:
        """From Stripe, in the current rows and in the versions of the history."""
        return differences(self.warehouse, self.stripe, self.since or 0, swept=swept) + wrong_versions(
            self.warehouse, self.stripe
        )

    def copied(self, folder: Path) -> Warehouse:
        """The warehouse as it is now, to compare with later."""
        copy = Warehouse(folder)
        copy.build.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.warehouse.build, copy.build)
        return copy

    # ---- another process -------------------------------------------------------------------------------------
    def killed(self, when: Callable[[], bool], *, publishing: bool = False) -> bool:
        """A refresh (or a publication) in another process, which gets SIGKILL as soon as `when` is true.

        False when it was done before.
        """
        if self.since is None:
            self.since = self.stripe.now
        run, arguments = (_publish, (self.folder,)) if publishing else (_refresh, (self.folder, self.stripe.url))
        child = _processes.Process(target=run, args=arguments, daemon=True)
        child.start()
        try:
            while child.is_alive() and not when():
                time.sleep(0.001)
            alive = child.is_alive()
            child.kill()
        finally:
            child.join()
        assert alive or child.exitcode == 0, "the refresh failed by itself"
        return alive

    @property
    def landed(self) -> int:
        """Files in landing, manifests and unfinished ones included."""
        return sum(1 for file in (self.folder / "landing").rglob("*") if file.is_file())

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.warehouse.connect(read_only=True) as con:
            return con.execute(query, list(values)).fetchall()
