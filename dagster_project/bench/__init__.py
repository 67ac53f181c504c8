"""The project's benchmarks: each figure beside its limit, in one run on this machine.

Every benchmark works in a folder of its own with processes of its own, and prints ratios; nothing here is a timed test.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dagster_project.bench import demo, dev, extract, simulator
from dagster_project.bench.commands import free_port
from dagster_project.bench.figures import Figure, show, tell
from dagster_project.errors import UsageError

_PORTS = ("LEDGERLINE_UI_PORT", "LEDGERLINE_RECEIVER_PORT", "LEDGERLINE_SIMULATOR_PORT")


def run(names: Sequence[str], options: extract.Options, *, as_json: bool = False) -> int:
    """Run the named benchmarks (default: all) and print their figures; 1 when a limit is missed.

    Raises UsageError for a benchmark that does not exist, LedgerlineError when what is measured fails.
    """
    benchmarks: dict[str, Callable[[dict[str, str]], Iterator[Figure]]] = {
        "demo": demo.demo,
        "refresh": demo.refresh,
        "dev": dev.dev,
        "simulator": simulator.simulator,
        "extract": lambda environment: extract.extract(environment, options),
    }
    if unknown := sorted(set(names) - set(benchmarks)):
        raise UsageError(f"Unknown benchmark {', '.join(unknown)}.", f"There are: {', '.join(benchmarks)}.")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ledgerline-bench-") as folder:
        environment = {
            **os.environ,
            "LEDGERLINE_DATA_DIR": str(Path(folder) / "data"),
            **{name: str(free_port()) for name in _PORTS},
        }
        for name in ("STRIPE_API_KEY", "STRIPE_API_BASE", "LEDGERLINE_ACCOUNTS"):
            environment.pop(name, None)
        try:
            for name, benchmark in benchmarks.items():
                if not names or name in names or (name == "demo" and set(names) & {"refresh", "dev"}):
                    for figure in benchmark(environment):
                        figures.append(figure)
                        tell(f"  {figure.what}: {figure.text}")
        finally:  # what was measured before something failed is not lost
            show(figures, as_json=as_json)
    return int(any(figure.met is False for figure in figures))


__all__ = ["run"]
