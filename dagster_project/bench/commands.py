"""Command lines run as a person would run them, with their time and the memory of all their processes."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from dagster_project.errors import LedgerlineError


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ledgerline(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dagster_project", *arguments]


def timed(environment: dict[str, str], *arguments: str) -> tuple[float, float, float]:
    """(seconds in all, seconds to the first line, peak memory of the process tree in MB) of a `ledgerline` command.

    Raises LedgerlineError with the end of the output when the command fails.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        ledgerline(*arguments), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    first, lines, peak = 0.0, [], 0.0
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    while process.poll() is None:
        while line := process.stdout.readline():
            first = first or time.monotonic() - began
            lines.append(line)
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.05)
    lines += process.stdout.readlines()
    if process.returncode != 0:
        raise LedgerlineError(f"`ledgerline {' '.join(arguments)}` failed:\n{''.join(lines[-20:])}", "Mend it first.")
    return time.monotonic() - began, first, peak


def tree_memory(pid: int) -> float:
    """Resident memory of a process and its descendants in MB, shared pages counted once each (PSS); 0 where unknown."""
    total = 0.0
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{current}/smaps_rollup").read_text()
            if match := re.search(r"^Pss:\s+(\d+) kB", text, re.M):
                total += int(match.group(1)) / 1024
        with contextlib.suppress(OSError):
            waiting += [int(child) for child in Path(f"/proc/{current}/task/{current}/children").read_text().split()]
    return total
