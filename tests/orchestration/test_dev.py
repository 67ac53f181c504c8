"""`make dev`: ports first, a child's death named, everything stopped, whatever the children started included."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from dagster_project import dev as module
from dagster_project.errors import PortInUse
from tests.orchestration.conftest import settings_in

SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z" if Path("/proc").exists() else True
    )


def test_a_port_in_use_is_named_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(module.subprocess, "Popen", refuse)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        values = {"STRIPE_API_KEY": "sk_test_x", "LEDGERLINE_RECEIVER_PORT": str(free_port())}
        with pytest.raises(PortInUse, match=rf"Port {port}, which the ui needs") as caught:
            module.dev(settings_in(tmp_path, LEDGERLINE_UI_PORT=str(port), **values))
    assert "LEDGERLINE_UI_PORT" in caught.value.next_step
    assert not (tmp_path / "dagster").exists()


def test_the_simulator_is_started_only_without_a_key(tmp_path: Path) -> None:
    names = [child.name for child in module._children(settings_in(tmp_path))]
    assert names == ["simulator", "receiver", "ui", "daemon"]
    names = [child.name for child in module._children(settings_in(tmp_path, STRIPE_API_KEY="sk_test_x"))]
    assert names == ["receiver", "ui", "daemon"]


def test_a_child_that_ends_is_named_and_the_others_are_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    ui = module.Child("ui", [sys.executable, "-c", SERVE, str(port)], port)
    dies = module.Child("daemon", [sys.executable, "-c", "print('I give up'); raise SystemExit(3)"])
    try:
        assert module._watch([ui, dies], dict(os.environ), threading.Event()) == 1
    finally:
        module._stop([ui, dies])
    assert ui.ended is not None
    assert "daemon ended with status 3" in capsys.readouterr().out


def test_one_interrupt_stops_children_and_grandchildren(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port, note = free_port(), tmp_path / "grandchild"
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    children = [
        module.Child("ui", [sys.executable, "-c", SERVE, str(port)], port),
        module.Child("daemon", [sys.executable, "-c", stubborn]),
    ]
    monkeypatch.setattr(module, "_children", lambda _settings: children)
    monkeypatch.setattr(module, "STOP_WITHIN", 1.0)
    monkeypatch.setattr("dagster_project.orchestration.dbt_project.ensure_manifest", lambda _settings: None)
    monkeypatch.setattr("dagster_project.orchestration.instance.prepare_home", lambda _settings: tmp_path)

    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert module.dev(settings_in(tmp_path)) == 0
    deadline = time.monotonic() + 5
    while alive(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(note.read_text()))
    assert all(child.ended is not None for child in children)
    shown = capsys.readouterr().out
    assert f"http://127.0.0.1:{port}" in shown
    assert "ledgerline: stopping." in shown
