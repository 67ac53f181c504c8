"""The dbt project as Dagster sees it: where its files go, its manifest, the environment its commands run in.

Does not belong here: assets (models.py) and SQL (dbt/). https://docs.dagster.io/integrations/libraries/dbt
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from dagster_dbt import DbtCliResource, DbtProject
from packaging.version import Version

from dagster_project.errors import LedgerlineError
from dagster_project.metrics.install import reported
from dagster_project.settings import PROJECT_ROOT, Settings

DBT_FOLDER = PROJECT_ROOT / "dbt"
DBT = Path(sys.executable).with_name("dbt")
_SOURCES = (".sql", ".yml", ".yaml", ".csv", ".md", ".py")


def environment(settings: Settings) -> dict[str, str]:
    """What dbt is told: the file to build, time zone and currency, and to send nothing anywhere.

    The same for parsing and building, because dbt parses everything again when one of them differs.
    """
    from dagster_project.warehouse.connection import Warehouse

    told = {
        "LEDGERLINE_BUILD_FILE": str(Warehouse(settings.data_dir).build),
        "LEDGERLINE_TIMEZONE": settings.timezone,
        "DBT_PROFILES_DIR": str(DBT_FOLDER),
        "DBT_TARGET_PATH": str(target(settings)),
        "DBT_LOG_PATH": str(target(settings)),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_VERSION_CHECK": "false",
        "DO_NOT_TRACK": "1",
    }
    if settings["LEDGERLINE_CURRENCY"]:
        told["LEDGERLINE_CURRENCY"] = str(settings["LEDGERLINE_CURRENCY"])
    return told


@contextmanager
def told(settings: Settings) -> Iterator[None]:
    """`environment` in this process, for as long as a dbt command is being started."""
    added = environment(settings)
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def target(settings: Settings) -> Path:
    """Where dbt writes what it compiled."""
    return settings.data_dir / "dbt"


def project(settings: Settings) -> DbtProject:
    return DbtProject(project_dir=DBT_FOLDER, target_path=target(settings), profiles_dir=DBT_FOLDER)


def ensure_manifest(settings: Settings) -> Path:
    """The path of a manifest that is as new as the dbt files; `dbt parse` runs only when it is not.

    Raises LedgerlineError with dbt's own words when the project cannot be parsed.
    """
    manifest = target(settings) / "manifest.json"
    if _fresh(manifest):
        return manifest
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with (manifest.parent / ".parse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _fresh(manifest):
            command = [str(DBT), "--quiet", "parse", "--project-dir", str(DBT_FOLDER)]
            # dbt leaves a manifest that is unchanged as it is, so its time is no sign that it was looked at.
            done = subprocess.run(
                command,
                env={**os.environ, **environment(settings)},
                cwd=DBT_FOLDER,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                words = (done.stdout + done.stderr).strip()[-2000:]
                raise LedgerlineError(f"The dbt project does not parse: {words}", "Correct the file that dbt names.")
            manifest.touch()
    return manifest


def _fingerprint(settings: Settings) -> str:
    """What decides the models besides their rows: time zone, currency, policy, rates and the project's own files."""
    digest = hashlib.sha256(f"{settings.timezone}|{settings['LEDGERLINE_CURRENCY']}|{reported(settings).hash}".encode())
    if settings["LEDGERLINE_FX_RATES"]:
        digest.update(Path(str(settings["LEDGERLINE_FX_RATES"])).read_bytes())
    for path in sorted(DBT_FOLDER.rglob("*")):
        if path.suffix in _SOURCES and path.is_file() and path.relative_to(DBT_FOLDER).parts[0] != "target":
            digest.update(path.read_bytes())
    return digest.hexdigest()


def remember_build(settings: Settings) -> None:
    """Note how the models were built that just passed."""
    (target(settings) / "built").write_text(_fingerprint(settings), encoding="utf-8")


def built_as_now(settings: Settings) -> bool:
    """Whether the last build had the same time zone, currency and SQL as now."""
    note = target(settings) / "built"
    return note.exists() and note.read_text(encoding="utf-8") == _fingerprint(settings)


def _fresh(manifest: Path) -> bool:
    if not manifest.exists():
        return False
    written = manifest.stat().st_mtime
    return all(path.stat().st_mtime <= written for path in DBT_FOLDER.rglob("*") if path.suffix in _SOURCES)


class Dbt(DbtCliResource):
    """Dagster's dbt resource without what costs seconds per run and is not used here: `dbt --version`, which asks the
    package registry for newer releases, and a second adapter in this process, which fetches row counts and columns
    while dbt holds the file's only lock."""

    @property
    def _cli_version(self) -> Version:
        return Version(installed_version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Any) -> Any:
        return None


def generate_docs(settings: Settings) -> Path:
    """dbt's documentation of the build warehouse as one page that needs no server; returns its path.

    Raises LedgerlineError with dbt's own words when it cannot be generated.
    """
    folder = target(settings) / "docs"
    done = subprocess.run(
        [str(DBT), "--quiet", "docs", "generate", "--static", "--project-dir", str(DBT_FOLDER)],
        env={**os.environ, **environment(settings), "DBT_TARGET_PATH": str(folder)},
        cwd=DBT_FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = (done.stdout + done.stderr).strip()[-2000:]
        raise LedgerlineError(f"dbt could not write its documentation: {words}", "Run `ledgerline refresh` first.")
    return folder / "static_index.html"
