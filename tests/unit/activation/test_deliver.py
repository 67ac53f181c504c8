"""Leases, error classes, recovery after a crash, and two deliverers at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from activation_world import World, dispute
from sqlalchemy import select, update

from dagster_project.activation.deliver import DeliveryReport, deliver
from dagster_project.activation.destinations.base import Destination, NotApplied, Outgoing, Permanent, Recovery, Unknown
from dagster_project.activation.overview import effects, overview, replay
from dagster_project.activation.plan import plan
from dagster_project.errors import UsageError
from dagster_project.ops.database import open_ops
from dagster_project.ops.tables import attempt, effect

ROUTE = "route: r\nfrom: disputes_opened\nbackfill: true\nsteps: [{to: outbox, map: {id: key}}]\n"


def scripted(recovery: Recovery, *answers: str | Exception, found: str | Literal[False] | None = None) -> Destination:
    """A destination that gives these answers in turn, then "ok"."""
    left = list(answers)

    class Scripted(Destination):
        recovery: Recovery = "blind"
        sent: list[str] = []  # noqa: RUF012

        def send(self, effect: Outgoing) -> str | None:
            self.sent.append(effect.id)
            answer = left.pop(0) if left else "ok"
            if isinstance(answer, Exception):
                raise answer
            return answer

        def find(self, effect: Outgoing) -> str | Literal[False] | None:
            return found

    Scripted.recovery = recovery
    return Scripted()


def prepare(world: World, count: int = 1) -> None:
    world.write(ROUTE)
    world.publish([dispute(f"dp_{n}") for n in range(count)])
    plan(world.settings, world.engine)


def send(world: World, to: Destination) -> DeliveryReport:
    return deliver(world.settings, world.engine, destinations={"outbox": to})


def due_now(world: World) -> None:
    """As if the pause were over."""
    with world.engine.begin() as connection:
        connection.execute(update(effect).where(effect.c.next_at.is_not(None)).values(next_at=datetime.now(UTC)))


def only(world: World) -> dict[str, object]:
    [row] = effects(world.engine)
    return row


def test_a_destination_without_a_recovery_class_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="declares no recovery class"):

        class Careless(Destination):
            pass


def test_what_was_certainly_not_applied_waits_and_is_sent_again(world: World) -> None:
    prepare(world)
    to = scripted("blind", NotApplied("refused"))
    before = datetime.now(UTC)
    assert send(world, to).waiting == 1
    assert before < only(world)["next_at"] <= before + timedelta(seconds=32)
    assert send(world, to).delivered == 0
    due_now(world)
    assert send(world, to).delivered == 1
    with world.engine.connect() as connection:
        outcomes = connection.execute(select(attempt.c.n, attempt.c.outcome).order_by(attempt.c.n)).fetchall()
    assert [tuple(row) for row in outcomes] == [(1, "not_applied"), (2, "delivered")]


def test_retry_after_is_honoured_and_spares_the_others(world: World) -> None:
    prepare(world, 3)
    to = scripted("blind", NotApplied("slow down", retry_after=120))
    before = datetime.now(UTC)
    assert send(world, to).waiting == 1
    [row] = effects(world.engine, state="waiting")
    assert row["next_at"] >= before + timedelta(seconds=120)
    assert sorted(state for [state] in world.states().values()) == ["ready", "ready", "waiting"]


def test_a_permanent_refusal_is_dead_at_once_and_its_text_holds_no_secret(world: World) -> None:
    prepare(world)
    assert send(world, scripted("blind", Permanent("bad token xoxb-1234567890-abcdef"))).dead == 1
    assert only(world)["error"] == "bad token xoxb-…"
    assert only(world)["next_at"] is None


@pytest.mark.parametrize(
    ("recovery", "found", "states", "sends"),
    [
        ("upsert", None, ["unsure", "delivered"], 2),
        ("keyed", None, ["unsure", "delivered"], 2),
        ("probe", "there", ["unsure", "delivered"], 1),
        ("probe", False, ["unsure", "delivered"], 2),
        ("probe", None, ["unsure", "unsure"], 1),
        ("blind", None, ["unsure", "unsure"], 1),
    ],
)
def test_what_may_have_arrived_is_settled_by_the_recovery_class(
    world: World, recovery: Recovery, found: str | Literal[False] | None, states: list[str], sends: int
) -> None:
    prepare(world)
    to = scripted(recovery, Unknown("timed out"), found=found)
    seen = []
    for _ in range(2):
        send(world, to)
        seen.append(only(world)["state"])
        due_now(world)
    assert (seen, len(to.sent)) == (states, sends)
    if states[-1] == "unsure":
        assert only(world)["next_at"] is None
        assert overview(world.engine)[0]["unsure"] == 1


def test_an_error_of_an_unknown_kind_is_never_taken_for_a_failure(world: World) -> None:
    prepare(world)
    assert send(world, scripted("blind", RuntimeError("something odd"))).unsure == 1


def test_after_three_days_of_trying_it_is_given_up(world: World) -> None:
    prepare(world)
    to = scripted("blind", NotApplied("no"), NotApplied("no"))
    send(world, to)
    with world.engine.begin() as connection:
        old = datetime.now(UTC) - timedelta(days=3, minutes=1)
        connection.execute(update(effect).values(first_sent_at=old, next_at=old))
    assert send(world, to).dead == 1


def test_a_later_effect_of_the_same_lane_waits_for_the_earlier(world: World) -> None:
    world.write(ROUTE, "a.yaml")
    world.write(ROUTE.replace("route: r", "route: s"), "b.yaml")
    world.publish([dispute("dp_1")])
    plan(world.settings, world.engine)
    to = scripted("blind", NotApplied("busy"))
    assert (send(world, to).waiting, len(to.sent)) == (1, 1)
    assert world.states() == {"dp_1": ["waiting", "ready"]}
    due_now(world)
    assert send(world, to).delivered == 2


def test_one_bad_effect_of_a_batch_does_not_spoil_the_others(world: World) -> None:
    class Batched(Destination):
        recovery = "upsert"
        batch = 10

        def send_many(self, effects: Sequence[Outgoing]) -> list[str | Exception | None]:
            return [Permanent("wrong") if effect.key == "dp_1" else effect.key for effect in effects]

    prepare(world, 3)
    report = send(world, Batched())
    assert (report.delivered, report.dead) == (2, 1)


def test_trying_again_keeps_the_id_and_one_that_did_not_happen_gets_a_new_one(world: World) -> None:
    prepare(world)
    to = scripted("blind", Permanent("no"), Unknown("timed out"))
    send(world, to)
    first = str(only(world)["id"])
    assert replay(world.engine, first, happened=True) == first
    assert send(world, to).unsure == 1
    # It may have arrived: asking to try again is no reason to send it twice.
    replay(world.engine, first, happened=True)
    send(world, to)
    assert (only(world)["state"], to.sent) == ("unsure", [first, first])
    second = replay(world.engine, first, happened=False)
    assert second != first
    assert send(world, to).delivered == 1
    assert world.states() == {"dp_0": ["replaced", "delivered"]}
    with pytest.raises(UsageError, match="is delivered"):
        replay(world.engine, second, happened=True)
    with pytest.raises(UsageError, match="No effect has the id"):
        replay(world.engine, "ffffffff-none", happened=True)


def test_threads_that_deliver_at_once_send_each_effect_once(world: World) -> None:
    prepare(world, 60)
    sent: list[str] = []

    class Slow(Destination):
        recovery = "blind"

        def send(self, effect: Outgoing) -> str | None:
            time.sleep(0.002)
            sent.append(effect.id)
            return None

    reports: list[DeliveryReport] = []
    threads = [threading.Thread(target=lambda: reports.append(send(world, Slow()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(sent).most_common(1)[0][1] == 1
    assert (len(sent), sum(report.delivered for report in reports)) == (60, 60)


WORKER = """
import os, sys, time
from pathlib import Path
from dagster_project.activation.deliver import deliver
from dagster_project.activation.destinations.base import Destination
from dagster_project.ops.database import open_ops
from dagster_project.settings import Settings

class Log(Destination):
    recovery = sys.argv[2]
    lease_s = 1.0
    def send(self, effect):
        with Path(sys.argv[1]).open("a") as log:
            log.write(effect.id + "\\n")
        if sys.argv[3] == "crash":
            print("sent", flush=True)
            time.sleep(60)
        time.sleep(0.002)

settings = Settings.load()
deliver(settings, open_ops(settings), destinations={"outbox": Log()})
"""


def worker(world: World, log: Path, recovery: str, how: str) -> subprocess.Popen[str]:
    env = {**os.environ, "LEDGERLINE_DATA_DIR": str(world.settings.data_dir)}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(log), recovery, how], env=env, stdout=subprocess.PIPE, text=True
    )


def test_processes_that_deliver_at_once_send_each_effect_once(world: World, tmp_path: Path) -> None:
    prepare(world, 60)
    log = tmp_path / "log"
    workers = [worker(world, log, "blind", "run") for _ in range(3)]
    for each in workers:
        each.communicate(timeout=60)
    assert [each.returncode for each in workers] == [0, 0, 0]
    lines = log.read_text().splitlines()
    assert (len(lines), len(set(lines))) == (60, 60)
    assert {state for [state] in world.states().values()} == {"delivered"}


@pytest.mark.parametrize(("recovery", "state", "sends"), [("upsert", "delivered", 2), ("blind", "unsure", 1)])
def test_a_deliverer_killed_between_sending_and_recording_is_recovered_without_a_hand(
    world: World, tmp_path: Path, recovery: Recovery, state: str, sends: int
) -> None:
    prepare(world)
    log = tmp_path / "log"
    killed = worker(world, log, recovery, "crash")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "sent\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert only(world)["state"] == "sending"
    time.sleep(1.1)
    to = scripted(recovery)
    send(world, to)
    assert (only(world)["state"], len(log.read_text().splitlines()) + len(to.sent)) == (state, sends)
    with world.engine.connect() as connection:
        first = connection.execute(select(attempt.c.outcome).where(attempt.c.n == 1)).scalar_one()
    assert first == "unknown"


def test_a_newer_ops_database_is_refused_with_its_version(world: World) -> None:
    from dagster_project.errors import StorageError
    from dagster_project.ops.tables import schema_version

    with world.engine.begin() as connection:
        connection.execute(update(schema_version).values(version=99))
    with pytest.raises(StorageError, match="schema version 99"):
        open_ops(world.settings)
