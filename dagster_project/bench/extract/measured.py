"""A synchronisation measured from outside: its wall time from start to end of the process, its CPU, its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_project.bench.extract.local import LocalStripe
from dagster_project.errors import LedgerlineError


@dataclass(frozen=True)
class Run:
    """`seconds` from the start of the process to its end; `cpu_s` and `peak_mb` of the whole process.

    `traffic` is what the simulator counted meanwhile.
    """

    seconds: float
    sync_s: float
    cpu_s: float
    peak_mb: float
    received: int
    problems: tuple[str, ...]
    traffic: dict[str, Any]

    @property
    def requests(self) -> int:
        """Every request, refused and failed ones too."""
        return sum(self.traffic["requests"].values())


def synchronised(
    stripe: LocalStripe, data_dir: Path, *, paced: bool = True, objects: Sequence[str] | None = None,
    mode: str = "incremental",
) -> Run:  # fmt: skip
    """Synchronise into `data_dir` in a process of its own. Without `paced` as fast as both sides can.

    Raises LedgerlineError with the end of its output when it fails.
    """
    stripe.count_anew()
    took, said = _child(stripe, data_dir, paced, what="sync", objects=objects, mode=mode)
    return Run(took, said["sync_s"], said["cpu_s"], said["peak_mb"], said["received"], tuple(said["problems"]),
               stripe.traffic())  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of the way by itself."""

    cpu_s: float
    peak_mb: float
    rows: int


def read_alone(stripe: LocalStripe, data_dir: Path) -> Part:
    """Everything read and landed, and not loaded, as fast as both sides can."""
    said = _child(stripe, data_dir, False, what="read")[1]
    return Part(said["cpu_s"], said["peak_mb"], said["received"])


def loaded_alone(stripe: LocalStripe, data_dir: Path) -> Part:
    """Everything that was landed loaded once more, without Stripe."""
    said = _child(stripe, data_dir, False, what="rebuild")[1]
    return Part(said["cpu_s"], said["peak_mb"], 0)


def _child(stripe: LocalStripe, data_dir: Path, paced: bool, **order: Any) -> tuple[float, dict[str, Any]]:
    settings = {"LEDGERLINE_DATA_DIR": str(data_dir), "STRIPE_API_BASE": stripe.base_url}
    if paced:  # Stripe's limits are kept to for every key; only the local simulator without one is asked freely
        settings["STRIPE_API_KEY"] = "sk_live_benchmark"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project.bench.extract.child", json.dumps({"settings": settings, **order})],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    took = time.monotonic() - began
    if done.returncode:
        raise LedgerlineError(f"The synchronisation failed:\n{done.stderr[-2000:]}", "Mend it first.")
    return took, json.loads(done.stdout.splitlines()[-1])
