"""What goes wrong, as a person meets it: one message with the next step, a non-zero exit, nothing half-written."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.end_to_end.conftest import Ledgerline


def published_bytes(run: Ledgerline) -> tuple[str, int]:
    target = (run.data_dir / "warehouse.duckdb").resolve()
    return str(target), target.stat().st_size


def complains(done, code: int, *words: str) -> None:  # type: ignore[no-untyped-def]
    """One message and one next step, no traceback."""
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    assert "Traceback" not in text
    assert "Error: " in done.stderr and "Next: " in done.stderr
    for word in words:
        assert word in text


def key(run: Ledgerline, name: str, deny: list[str]) -> None:
    import json

    body = json.dumps({"key": name, "deny": deny}).encode()
    request = urllib.request.Request(
        f"{run.base_url}/_ledgerline/keys", data=body, headers={"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(autouse=True)
def readers_keep_what_they_have(business: Ledgerline, request: pytest.FixtureRequest) -> Iterator[None]:
    before = published_bytes(business)
    yield
    if "publishes" not in request.node.name:
        assert published_bytes(business) == before


def test_a_wrong_key(business: Ledgerline) -> None:
    done = business("refresh", STRIPE_API_KEY="sk_live_invalid_key", STRIPE_API_BASE=business.base_url)
    complains(done, 1, "key", "not accepted")
    assert "sk_live_invalid_key" not in done.stdout + done.stderr


def test_a_base_url_where_nobody_answers(business: Ledgerline) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    complains(
        business("refresh", STRIPE_API_KEY="sk_x", STRIPE_API_BASE=f"http://127.0.0.1:{port}"), 1, "does not answer"
    )


@pytest.fixture
def web_page() -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<html><body>welcome</body></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_base_url_that_is_no_stripe(business: Ledgerline, web_page: str) -> None:
    complains(business("refresh", STRIPE_API_KEY="sk_x", STRIPE_API_BASE=web_page), 1, "STRIPE_API_BASE")


def test_an_unknown_object(business: Ledgerline) -> None:
    complains(business("backfill", "chargs"), 2, "chargs", "charges")


def test_a_malformed_date(business: Ledgerline) -> None:
    complains(business("backfill", "charges", "--from", "soon"), 2, "soon")


def test_a_malformed_dotenv(business: Ledgerline) -> None:
    file = business.data_dir.parent / ".env"
    file.write_text("this is not a setting\n")
    try:
        complains(business("refresh"), 2, "line 1")
    finally:
        file.unlink()


def test_malformed_accounts(business: Ledgerline, tmp_path: Path) -> None:
    (tmp_path / "accounts.yaml").write_text("- {name: [")
    complains(business("refresh", LEDGERLINE_ACCOUNTS=str(tmp_path / "accounts.yaml")), 2, "accounts.yaml")


def test_malformed_routes(business: Ledgerline, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("route: x\nfrom: disputes_opened\nmode: enter\ncolour: red\n")
    complains(business("plan", LEDGERLINE_ROUTES=str(tmp_path)), 2, "wrong.yaml", "colour")


def test_a_second_writer(business: Ledgerline) -> None:
    held = duckdb.connect(str(business.data_dir / "build" / "warehouse.duckdb"))
    try:
        complains(business("refresh"), 1, "PID")
    finally:
        held.close()


def test_a_truncated_landing_file(business: Ledgerline) -> None:
    victim = max((business.data_dir / "landing").rglob("*.jsonl.zst"), key=lambda path: path.stat().st_size)
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    try:
        complains(business("rebuild"), 1, victim.name)
    finally:
        victim.write_bytes(whole)
    assert business("refresh").returncode == 0


def test_a_data_directory_that_cannot_be_written(business: Ledgerline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    complains(business("refresh", LEDGERLINE_DATA_DIR=str(tmp_path / "file" / "data")), 1, "file")


def test_a_port_in_use(business: Ledgerline) -> None:
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        complains(business("receive", "--port", port, STRIPE_WEBHOOK_SECRET="whsec_x"), 1, port)
        complains(business("dev", LEDGERLINE_UI_PORT=port), 1, port)


def test_a_receiver_without_a_secret_does_not_start(business: Ledgerline, tmp_path: Path) -> None:
    done = business("receive", STRIPE_API_KEY="sk_x", LEDGERLINE_DATA_DIR=str(tmp_path / "data"))
    complains(done, 1 if done.returncode == 1 else 2, "STRIPE_WEBHOOK_SECRET")


@pytest.mark.parametrize("verb", ["approve", "reject", "explain"])
def test_a_verb_that_is_not_there_yet_says_so(business: Ledgerline, verb: str) -> None:
    complains(business(verb, "x"), 2, "not there yet")


def test_a_key_without_some_permissions_publishes_what_it_may_read_and_exits_1(business: Ledgerline) -> None:
    key(business, "rk_live_narrow", ["disputes", "quotes"])
    data_dir = business.data_dir.parent / "narrow"
    run = Ledgerline(data_dir, business.base_url)
    done = run("refresh", STRIPE_API_KEY="rk_live_narrow", STRIPE_API_BASE=business.base_url)
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    assert "disputes" in done.stderr and "quotes" in done.stderr
    with duckdb.connect(str((data_dir / "warehouse.duckdb").resolve()), read_only=True) as con:
        assert con.execute("select count(*) from stripe.charges").fetchone()[0] > 0
        assert con.execute("select count(*) from stripe.disputes").fetchone()[0] == 0
        states = dict(con.execute("select object, state from sync.object_state").fetchall())
    assert states["disputes"] == states["quotes"] == "not_permitted"
