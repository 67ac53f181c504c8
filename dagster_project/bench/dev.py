"""How long `make dev` takes until the UI answers."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator

from dagster_project.bench.commands import ledgerline
from dagster_project.bench.figures import Figure, tell


def dev(environment: dict[str, str]) -> Iterator[Figure]:
    tell("dev: until the UI answers …")
    began = time.monotonic()
    process = subprocess.Popen(
        ledgerline("dev"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while time.monotonic() - began < 90:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{environment['LEDGERLINE_UI_PORT']}/server_info", timeout=1)
                break
            time.sleep(0.1)
        yield Figure("dev", "UI answers", time.monotonic() - began, 15, "s")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
