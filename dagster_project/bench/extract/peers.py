"""What others reach under the same weather, for a minute each: the plain SDK loop, and a dlt pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagster_project.bench.extract.backfill import ONE_TYPE, World
from dagster_project.bench.extract.local import LocalStripe
from dagster_project.bench.extract.measured import synchronised
from dagster_project.bench.figures import Figure, tell
from dagster_project.errors import LedgerlineError

SECONDS = 60
PEERS = {
    "plain SDK loop": ("peer_sdk.py", "stripe"),
    "dlt, incremental `created`, Parquet": ("peer_dlt.py", "dlt"),
}
_INSTALL = (
    "not run: dlt is not installed here. `pip install 'ledgerline[bench]'`, or --peer-python PATH of one that has it"
)


def peers(world: World) -> Iterator[Figure]:
    seconds = max(2, int(SECONDS * min(1.0, world.options.scale)))
    with world.one_type() as stripe:
        yield world.latency(stripe.weather())
        tell(f"extract: ours, {ONE_TYPE} …")
        ours = synchronised(stripe, world.folder / "peers-data", objects=[ONE_TYPE], mode="full")
        rate = ours.received / ours.seconds
        note = _note(ours.received, ours.seconds, ours.cpu_s)
        yield world.figure("ours", f"{ONE_TYPE}, from start until loaded", rate, None, "objects/s", note=note)
        for name, (script, package) in PEERS.items():
            python = _interpreter(world, package)
            if python is None:
                yield world.figure(name, "ours / theirs", None, None, note=_INSTALL)
                continue
            tell(f"extract: {name}, {seconds} s …")
            stripe.weather()
            said = _run(stripe, python, script, seconds, world.folder / "peers")
            theirs = said["rows"] / said["seconds"]
            note = f"{_note(said['rows'], said['seconds'], said['cpu_s'])}; {said['version']}"
            yield world.figure(name, ONE_TYPE, theirs, None, "objects/s", note=note)
            yield world.figure(name, f"ours / theirs, {ONE_TYPE}", rate / theirs, None, "times")
            if (done := world.measured) is not None:  # they read one list after the other: their rate is for all, too
                ours_all = done.truth.count / done.run.seconds
                yield world.figure(name, "ours / theirs, all types", ours_all / theirs, None, "times")


def _note(rows: int, seconds: float, cpu_s: float) -> str:
    return f"{rows:,} in {seconds:.1f} s, {1e6 * cpu_s / max(1, rows):.0f} ms of CPU per 1,000"


def _interpreter(world: World, package: str) -> str | None:
    for python in (sys.executable, world.options.peer_python):
        if python:
            found = subprocess.run([python, "-c", f"import {package}, stripe"], capture_output=True, check=False)
            if found.returncode == 0:
                return python
    return None


def _run(stripe: LocalStripe, python: str, script: str, seconds: int, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LEDGERLINE_", "STRIPE_"))}
    done = subprocess.run(
        [python, str(Path(__file__).with_name(script)), stripe.base_url, f"/v1/{ONE_TYPE}", str(seconds), str(folder)],
        capture_output=True, text=True, check=False, cwd=folder, env=environment,
    )  # fmt: skip
    if done.returncode:
        raise LedgerlineError(f"{script} failed:\n{done.stderr[-2000:]}", "Mend it first.")
    return dict(json.loads(done.stdout.splitlines()[-1]))
