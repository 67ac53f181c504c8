"""The simulator as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe

from dagster_project.errors import LedgerlineError, PortInUse, StripeUnreachable, UsageError
from dagster_project.simulator import process

SMALL = {"seed": 5, "customers": 10, "months": 1}


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if (running := process.find(tmp_path)) is not None:
        running.stop()


def test_it_starts_once_says_what_it_does_and_is_found_again(data_dir):
    lines: list[str] = []
    first = process.ensure_running(data_dir, **SMALL, on_line=lines.append)
    assert first.started_here
    assert any("10 customers" in line for line in lines)
    again = process.ensure_running(data_dir)
    assert (again.base_url, again.pid, again.started_here) == (first.base_url, first.pid, False)
    assert process.status(first.base_url)["parameters"] == {"scenario": "saas", **SMALL}
    client = stripe.StripeClient("sk_simulator", base_addresses={"api": first.base_url})
    assert client.v1.customers.list().data


def test_the_state_survives_a_stop(data_dir):
    first = process.ensure_running(data_dir, **SMALL)
    now = process.advance(first.base_url, days=2)["now"]
    client = stripe.StripeClient("sk_simulator", base_addresses={"api": first.base_url})
    made = client.v1.customers.create({"name": "Ada"})
    first.stop()
    assert process.find(data_dir) is None
    assert sorted(path.name for path in (data_dir / "simulator").iterdir() if "sqlite" in path.name) == ["state.sqlite"]
    assert not (data_dir / "simulator" / "server.json").exists()
    second = process.ensure_running(data_dir, **SMALL)
    assert process.status(second.base_url)["now"] == now
    client = stripe.StripeClient("sk_simulator", base_addresses={"api": second.base_url})
    assert client.v1.customers.retrieve(made.id).name == "Ada"


@pytest.mark.parametrize("other", [{"seed": 6}, {"customers": 11}, {"months": 2}, {"scenario": "flat"}])
def test_another_business_than_the_one_on_disk_is_refused_with_both_ways_out(data_dir, other):
    first = process.ensure_running(data_dir, **SMALL)
    with pytest.raises(UsageError, match="scenario saas, seed 5, customers 10, months 1.*--reset.*LEDGERLINE_DATA_DIR"):
        process.ensure_running(data_dir, **other)
    first.stop()
    with pytest.raises(LedgerlineError, match="scenario saas, seed 5, customers 10, months 1.*--reset"):
        process.ensure_running(data_dir, **other)
    again = process.ensure_running(data_dir, **SMALL)
    assert process.status(again.base_url)["parameters"] == {"scenario": "saas", **SMALL}


def test_with_reset_another_business_takes_its_place(data_dir):
    process.ensure_running(data_dir, **SMALL).stop()
    command = [sys.executable, "-m", "dagster_project", "simulator", "--port", str(free_port()), "--reset"]
    asked = ["--scenario", "flat", "--objects", "2000", "--months", "3"]
    environment = {**os.environ, "LEDGERLINE_DATA_DIR": str(data_dir), "STRIPE_API_KEY": ""}
    server = subprocess.Popen([*command, *asked], env=environment, stdout=subprocess.DEVNULL)
    try:
        while (running := process.find(data_dir)) is None:
            assert server.poll() is None
            time.sleep(0.05)
        about = process.status(running.base_url)
    finally:
        server.terminate()
        server.wait()
    assert about["parameters"] == {"scenario": "flat", "seed": 7, "objects": 2000, "months": 3}
    assert sum(about["objects"].values()) == 2000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_half_made_business_is_made_again(data_dir):
    (data_dir / "simulator").mkdir()
    (data_dir / "simulator" / "making.sqlite").write_bytes(b"half")
    handle = process.ensure_running(data_dir, **SMALL)
    assert process.status(handle.base_url)["objects"]["customer"]


def test_of_several_that_start_it_at_once_one_does(data_dir):
    handles: list[process.SimulatorHandle] = []
    threads = [
        threading.Thread(target=lambda: handles.append(process.ensure_running(data_dir, **SMALL))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({handle.pid for handle in handles}) == 1
    assert [handle.started_here for handle in handles].count(True) == 1


def test_one_that_somebody_else_is_starting_is_waited_for(data_dir):
    command = [
        sys.executable,
        "-m",
        "dagster_project.simulator.http.server",
        "--data-dir",
        str(data_dir),
        "--customers",
        "80",
    ]
    other = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not (data_dir / "simulator" / "making.sqlite").exists():
            time.sleep(0.01)
        handle = process.ensure_running(data_dir)
        assert (handle.pid, handle.started_here) == (other.pid, False)
    finally:
        other.terminate()
        other.wait()
    assert other.returncode == 0


def test_a_killed_one_leaves_a_record_that_is_not_believed(data_dir):
    first = process.ensure_running(data_dir, **SMALL)
    os.kill(first.pid, signal.SIGKILL)
    while process._alive(first.pid):
        time.sleep(0.01)
    assert (data_dir / "simulator" / "server.json").exists()
    second = process.ensure_running(data_dir, **SMALL)
    assert second.started_here
    assert second.pid != first.pid


def test_a_taken_port_is_named(data_dir):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)) as refused:
            process.ensure_running(data_dir, **SMALL, port=port)
    assert refused.value.next_step


def test_a_second_server_of_the_same_data_is_refused(data_dir):
    process.ensure_running(data_dir, **SMALL)
    command = [sys.executable, "-m", "dagster_project.simulator.http.server", "--data-dir", str(data_dir)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "already runs" in second.stderr


def test_a_failed_start_shows_why(data_dir):
    folder = data_dir / "simulator"
    folder.mkdir()
    (folder / "state.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerlineError, match="cannot be read: file is not a database.*--reset"):
        process.ensure_running(data_dir, timeout=30)


def test_the_clock_is_refused_its_way_back(data_dir):
    handle = process.ensure_running(data_dir, **SMALL)
    with pytest.raises(LedgerlineError, match="only moves forward"):
        process.advance(handle.base_url, to=5)


def test_nobody_there_is_said(data_dir):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(StripeUnreachable, match="does not answer"):
            process.status(f"http://127.0.0.1:{free.getsockname()[1]}")


def test_statistics_let_a_customers_rows_be_found_directly(data_dir):
    process.ensure_running(data_dir, **SMALL).stop()
    with sqlite3.connect(data_dir / "simulator" / "state.sqlite") as connection:
        assert connection.execute("select count(*) from sqlite_stat1").fetchone()[0]
    connection.close()


def command(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LEDGERLINE_DATA_DIR": str(data_dir)}
    environment.pop("LEDGERLINE_STRIPE_SCHEMAS", None)
    return subprocess.run(
        [sys.executable, "-m", "dagster_project", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


def test_only_a_business_that_is_there_is_advanced(data_dir, tmp_path):
    handle = process.ensure_running(data_dir, **SMALL)
    before = process.status(handle.base_url)["now"]
    elsewhere = tmp_path / "elsewhere"
    refused = command("simulator", "advance", "--days", "1", data_dir=elsewhere)
    assert refused.returncode == 2
    assert "LEDGERLINE_DATA_DIR" in refused.stderr
    assert not (elsewhere / "simulator").exists()
    port = handle.base_url.rpartition(":")[2]
    done = command("simulator", "--port", port, "advance", "--days", "1", data_dir=elsewhere)
    assert done.returncode == 0, done.stderr
    assert process.status(handle.base_url)["now"] == before + 86_400
    handle.stop()
