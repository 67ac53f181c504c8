"""Slack through its own client, against a small server that speaks the three methods that are used."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from activation_world import World, dispute

from dagster_project.activation.deliver import DeliveryReport, deliver
from dagster_project.activation.destinations import destination
from dagster_project.activation.destinations.slack import Slack, SlackOutbox
from dagster_project.activation.overview import effects
from dagster_project.activation.plan import plan


@dataclass
class Workspace:
    """`answers` are given in turn to chat.postMessage, then it works; "lost" posts and drops the connection."""

    port: int = 0
    answers: list[Any] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    scopes: bool = True
    calls: list[str] = field(default_factory=list)


@pytest.fixture
def slack() -> Iterator[Workspace]:
    workspace = Workspace()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            json_body = "json" in (self.headers["Content-Type"] or "")
            given = json.loads(body) if json_body else {key: value[0] for key, value in parse_qs(body).items()}
            method = self.path.rsplit("/", 1)[1]
            workspace.calls.append(method)
            assert self.headers["Authorization"] == "Bearer xoxb-test"
            match method:
                case "chat.postMessage":
                    answer = workspace.answers.pop(0) if workspace.answers else None
                    if answer not in (None, "lost"):
                        return self.reply(*answer)
                    for name in ("blocks", "metadata"):
                        if isinstance(given.get(name), str):
                            given[name] = json.loads(given[name])
                    workspace.messages.append({**given, "ts": f"{1_900_000_000 + len(workspace.messages)}.000100"})
                    if answer == "lost":
                        return self.connection.close()
                    return self.reply(200, {"ok": True, "channel": "C1", "ts": workspace.messages[-1]["ts"]})
                case "conversations.list":
                    return self.reply(200, {"ok": True, "channels": [{"id": "C1", "name": "money"}]})
                case "conversations.history" if workspace.scopes:
                    assert given["channel"] == "C1"
                    return self.reply(200, {"ok": True, "messages": workspace.messages[::-1]})
                case _:
                    return self.reply(200, {"ok": False, "error": "missing_scope"})

        do_GET = do_POST

        def reply(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    workspace.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield workspace
    server.shutdown()
    server.server_close()
    thread.join()


def send(world: World, workspace: Workspace) -> DeliveryReport:
    to = Slack("xoxb-test", "#money", base_url=f"http://127.0.0.1:{workspace.port}/api/", timeout=5)
    return deliver(world.settings, world.engine, destinations={"slack": to})


def prepare(world: World, count: int = 1) -> None:
    world.publish([dispute(f"dp_{n}") for n in range(count)])
    plan(world.settings, world.engine)


def due_now(world: World) -> None:
    from sqlalchemy import update

    from dagster_project.ops.tables import effect

    with world.engine.begin() as connection:
        connection.execute(update(effect).where(effect.c.next_at.is_not(None)).values(next_at=datetime.now(UTC)))


def test_a_message_has_text_blocks_and_the_id_of_its_effect(shipped: World, slack: Workspace) -> None:
    prepare(shipped)
    assert send(shipped, slack).delivered == 1
    [message] = slack.messages
    [row] = effects(shipped.engine)
    assert message["channel"] == "#money"
    assert message["text"].startswith("*Ada &lt;!channel&gt; &amp; Co disputes 1,234.50 EUR*")
    assert [block["type"] for block in message["blocks"]] == ["section", "section"]
    assert message["metadata"]["event_payload"] == {"effect_id": row["id"]}
    assert row["remote_id"] == f"C1/{message['ts']}"


def test_a_lost_answer_is_looked_up_and_not_sent_again(shipped: World, slack: Workspace) -> None:
    prepare(shipped)
    slack.answers = ["lost"]
    assert send(shipped, slack).unsure == 1
    assert slack.calls == ["chat.postMessage"]
    due_now(shipped)
    assert send(shipped, slack).delivered == 1
    assert len(slack.messages) == 1


def test_a_message_that_is_certainly_not_there_is_sent_again(shipped: World, slack: Workspace) -> None:
    prepare(shipped)
    slack.answers = [(503, {"ok": False, "error": "service_unavailable"})]
    assert send(shipped, slack).unsure == 1
    due_now(shipped)
    assert send(shipped, slack).delivered == 1
    assert (len(slack.messages), slack.calls.count("chat.postMessage")) == (1, 2)


def test_without_the_right_to_read_the_channel_it_waits_for_a_person(shipped: World, slack: Workspace) -> None:
    prepare(shipped)
    slack.answers, slack.scopes = ["lost"], False
    send(shipped, slack)
    due_now(shipped)
    assert send(shipped, slack).unsure == 1
    [row] = effects(shipped.engine)
    assert (row["state"], row["next_at"], len(slack.messages)) == ("unsure", None, 1)


@pytest.mark.parametrize(
    ("answer", "state", "calls"),
    [
        ((429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"}), "waiting", 1),
        ((200, {"ok": False, "error": "invalid_auth"}), "waiting", 1),
        ((200, {"ok": False, "error": "channel_not_found"}), "waiting", 1),
        ((200, {"ok": False, "error": "msg_too_long"}), "dead", 2),
        ((500, {"ok": False, "error": "internal_error"}), "unsure", 2),
    ],
)
def test_what_slack_answers_decides_what_happens(
    shipped: World, slack: Workspace, answer: Any, state: str, calls: int
) -> None:
    prepare(shipped, 2)
    slack.answers = [answer]
    send(shipped, slack)
    assert sorted(s for [s] in shipped.states().values()) == sorted([state, "ready" if calls == 1 else "delivered"])
    assert slack.calls.count("chat.postMessage") == calls


def test_a_refused_connection_is_certainly_not_applied(shipped: World, slack: Workspace) -> None:
    prepare(shipped)
    to = Slack("xoxb-test", "#money", base_url="http://127.0.0.1:9/api/", timeout=5)
    assert deliver(shipped.settings, shipped.engine, destinations={"slack": to}).waiting == 1
    assert effects(shipped.engine)[0]["error"] == "Slack: ConnectionRefusedError"


def test_the_token_decides_between_slack_and_the_outbox(shipped: World) -> None:
    assert isinstance(destination(shipped.settings, "slack"), SlackOutbox)
    assert isinstance(destination(shipped.settings.replaced(SLACK_BOT_TOKEN="xoxb-1"), "slack"), Slack)
