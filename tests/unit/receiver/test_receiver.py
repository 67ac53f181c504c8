"""The receiver over real HTTP: signatures, sizes, duplicates, and registering its endpoint."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import Engine, select

from dagster_project.errors import PortInUse, SettingError, StripeUnreachable, UsageError
from dagster_project.ops.database import open_ops
from dagster_project.ops.tables import inbox
from dagster_project.receiver.app import MAX_BODY, create_app
from dagster_project.receiver.endpoint import register, status
from dagster_project.receiver.inbox import mark_loaded, pending
from dagster_project.receiver.secrets import secret_file, signing_secrets
from dagster_project.receiver.serve import serve
from dagster_project.settings import Settings


def settings_in(folder: Path, **values: str) -> Settings:
    return Settings.load({"LEDGERLINE_DATA_DIR": str(folder), **values}, dotenv=folder / "no.env")


def event(id: str = "evt_1", **values: Any) -> bytes:
    return json.dumps(
        {
            "id": id, "object": "event", "type": "invoice.paid", "created": 1_760_000_000, "livemode": False,
            "api_version": "2026-10-28.endive", "data": {"object": {"id": "in_1", "object": "invoice"}}, **values,
        },
        indent=2,
    ).encode()  # fmt: skip


def signed(body: bytes, secret: str, at: float | None = None) -> str:
    moment = int(time.time() if at is None else at)
    mac = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={mac}"


@dataclass
class Receiver:
    port: int
    engine: Engine

    def post(self, body: bytes, signature: str | None, path: str = "/webhooks/stripe") -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json"} | ({"Stripe-Signature": signature} if signature else {})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers)
        return answer(request)

    def rows(self) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(inbox).order_by(inbox.c.id)))


def answer(request: urllib.request.Request | str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    settings = settings_in(tmp_path / "data", STRIPE_WEBHOOK_SECRET="whsec_old, whsec_new")
    engine = open_ops(settings)
    server = uvicorn.Server(uvicorn.Config(create_app(settings, engine), log_level="error", lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield Receiver(listening.getsockname()[1], engine)
        server.should_exit = True
        thread.join()
    engine.dispose()


def test_an_event_is_stored_as_it_was_signed_before_it_is_acknowledged(receiver: Receiver) -> None:
    body = event()
    assert receiver.post(body, signed(body, "whsec_new")) == (200, {"received": True, "duplicate": False})
    [row] = receiver.rows()
    assert (row.event_id, row.type, row.object_id, row.body) == ("evt_1", "invoice.paid", "in_1", body)
    assert row.sha256 == hashlib.sha256(body).hexdigest()


def test_both_secrets_of_a_rotation_are_good_and_a_duplicate_is_stored_once(receiver: Receiver) -> None:
    body = event()
    for secret, duplicate in (("whsec_old", False), ("whsec_new", True)):
        assert receiver.post(body, signed(body, secret))[1]["duplicate"] is duplicate
    assert len(receiver.rows()) == 1


@pytest.mark.parametrize("case", ["none", "wrong", "old", "other body", "garbage"])
def test_a_signature_that_does_not_fit_is_refused_and_nothing_is_stored(receiver: Receiver, case: str) -> None:
    body = event()
    signature = {
        "none": None,
        "wrong": signed(body, "whsec_other"),
        "old": signed(body, "whsec_new", time.time() - 301),
        "other body": signed(event("evt_2"), "whsec_new"),
        "garbage": "t=now,v1=zz",
    }[case]
    assert receiver.post(body, signature) == (400, {"error": "The signature does not fit."})
    assert receiver.rows() == []


def test_a_body_that_is_too_large_or_no_event_is_refused(receiver: Receiver) -> None:
    large = b" " * (MAX_BODY + 1)
    assert receiver.post(large, signed(large, "whsec_new"))[0] == 413
    for body in (b"{}", b"[1]", b"not json", event(object="invoice"), event(id=None)):
        assert receiver.post(body, signed(body, "whsec_new"))[0] == 400
    assert receiver.rows() == []


def test_the_account_is_the_events_own_or_the_one_in_the_path(receiver: Receiver) -> None:
    for body in (event("evt_1"), event("evt_2", account="acct_connected")):
        assert receiver.post(body, signed(body, "whsec_new"), "/webhooks/stripe/acct_path")[0] == 200
    assert [row.account for row in receiver.rows()] == ["acct_path", "acct_connected"]


def test_health_and_unknown_paths_answer_in_json(receiver: Receiver) -> None:
    assert answer(f"http://127.0.0.1:{receiver.port}/healthz") == (200, {"ok": True})
    assert answer(f"http://127.0.0.1:{receiver.port}/nothing")[0] == 404
    assert answer(f"http://127.0.0.1:{receiver.port}/webhooks/stripe")[0] == 405


def test_what_waits_is_taken_once_and_keeps_its_order(receiver: Receiver) -> None:
    for id in ("evt_b", "evt_a"):
        receiver.post(event(id), signed(event(id), "whsec_new"))
    waiting = pending(receiver.engine)
    assert [row["event_id"] for row in waiting] == ["evt_b", "evt_a"]
    mark_loaded(receiver.engine, [waiting[0]["id"]])
    assert [row["event_id"] for row in pending(receiver.engine)] == ["evt_a"]


def test_without_a_secret_it_refuses_to_start(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "data", STRIPE_API_KEY="sk_test_x")
    engine = open_ops(settings)
    with pytest.raises(SettingError, match="no signing secret"):
        create_app(settings, engine)
    engine.dispose()


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port}: another program listens there"):
            serve(settings_in(tmp_path / "data", STRIPE_WEBHOOK_SECRET="whsec_x"), port=port)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    from dagster_project.simulator.process import ensure_running

    settings = settings_in(tmp_path_factory.mktemp("simulated"))
    handle = ensure_running(settings.data_dir, customers=10, months=1)
    yield settings.replaced(STRIPE_API_BASE=handle.base_url)
    handle.stop()


def test_the_endpoint_is_registered_once_and_its_secret_is_kept_for_this_user_only(simulated: Settings) -> None:
    url = "http://127.0.0.1:8799/webhooks/stripe"
    secret = register(simulated, url)
    assert secret.startswith("whsec_")
    assert register(simulated, url) == secret
    [row] = [row for row in status(simulated) if row["url"] == url]
    assert (row["status"], row["events"], row["secret"]) == ("enabled", "all", "here")
    assert row["api_version"] == "2026-10-28.endive"
    assert stat.S_IMODE(secret_file(simulated).stat().st_mode) == 0o600
    other = register(simulated, url + "/acct_1")
    assert signing_secrets(simulated) == (secret, other)


def test_a_secret_that_was_lost_is_made_anew_at_the_simulator_but_not_at_stripe(simulated: Settings) -> None:
    url = "http://127.0.0.1:8798/webhooks/stripe"
    first = register(simulated, url)
    secret_file(simulated).unlink()
    with pytest.raises(UsageError, match="only in the dashboard"):
        register(simulated.replaced(STRIPE_API_KEY="sk_simulator"), url)
    assert register(simulated, url) != first
    assert [row["url"] for row in status(simulated)].count(url) == 1


def test_an_unreachable_stripe_is_named(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, STRIPE_API_KEY="sk_test_x", STRIPE_API_BASE="http://127.0.0.1:9")
    with pytest.raises(StripeUnreachable, match="no connection to http://127.0.0.1:9"):
        status(settings)
