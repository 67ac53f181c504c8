"""The command line as a person uses it, against a small simulated business in a data directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dagster_project.simulator import process

_SETTINGS = ("STRIPE_", "LEDGERLINE_", "SLACK_", "DAGSTER_", "DBT_")


@dataclass
class Ledgerline:
    """Runs `ledgerline` with the settings of one data directory; `base_url` is its simulator's."""

    data_dir: Path
    base_url: str
    settings: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, timeout: float = 240, **settings: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        inherited.pop("HTTPS_PROXY", None)
        given = {"LEDGERLINE_DATA_DIR": str(self.data_dir), **self.settings, **settings}
        return subprocess.run(
            [sys.executable, "-m", "dagster_project", *arguments],
            env=inherited | given,
            cwd=self.data_dir.parent,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="session")
def business(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledgerline]:
    """A published warehouse of 30 customers over three months. Tests leave it as they found it, or newer."""
    data_dir = tmp_path_factory.mktemp("business") / "data"
    handle = process.ensure_running(data_dir, customers=30, months=3)
    run = Ledgerline(data_dir, handle.base_url)
    done = run("refresh")
    assert done.returncode == 0, done.stdout + done.stderr
    yield run
    handle.stop()
