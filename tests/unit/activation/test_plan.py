"""Modes, the first run, limits, dry runs and events as they arrive."""

from __future__ import annotations

import json

import pytest
from activation_world import World, dispute

from dagster_project.activation.deliver import deliver
from dagster_project.activation.overview import replay
from dagster_project.activation.plan import plan
from dagster_project.errors import UsageError, WarehouseError
from dagster_project.receiver.inbox import store

STEP = "steps:\n  - {to: outbox, map: {id: key, status: status, due: due_by}}\n"


def route(mode: str, more: str = "") -> str:
    return f"route: test_route\nfrom: disputes_opened\nmode: {mode}\n{STEP}{more}"


def test_the_first_run_takes_note_and_sends_nothing_unless_told_to(world: World) -> None:
    world.write(route("event"))
    world.publish([dispute("dp_1"), dispute("dp_2")])
    [first] = plan(world.settings, world.engine).routes
    assert (first.baseline, first.rows, first.new) == (True, 2, 0)
    world.publish([dispute("dp_1"), dispute("dp_2"), dispute("dp_3")])
    assert plan(world.settings, world.engine).new == 1
    assert world.states() == {"dp_3": ["ready"]}


def test_an_event_route_makes_one_effect_per_key_even_when_it_comes_back(world: World) -> None:
    world.write(route("event", "backfill: true\n"))
    for rows in ([dispute("dp_1")], [], [dispute("dp_1", status="lost")]):
        world.publish(rows)
        plan(world.settings, world.engine)
    assert world.states() == {"dp_1": ["ready"]}


def test_an_enter_route_makes_an_effect_again_when_a_key_left_and_came_back(world: World) -> None:
    world.write(route("enter", "backfill: true\n"))
    for rows in ([dispute("dp_1")], [dispute("dp_1", status="lost")], [], [dispute("dp_1")]):
        world.publish(rows)
        plan(world.settings, world.engine)
    assert world.states() == {"dp_1": ["ready", "ready"]}


def test_a_change_route_tells_only_of_watched_columns(world: World) -> None:
    world.write(route("change", "watch: [status]\nbackfill: true\n"))
    steps = [dispute("dp_1"), dispute("dp_1", amount=5), dispute("dp_1", status="won"), dispute("dp_1")]
    made = []
    for row in steps:
        world.publish([row])
        made.append(plan(world.settings, world.engine).new)
    assert made == [0, 0, 1, 1]


def test_a_state_route_replaces_what_has_not_left_yet(world: World) -> None:
    world.write(route("state", "watch: [status]\nbackfill: true\n"))
    for status in ("needs_response", "under_review", "needs_response"):
        world.publish([dispute("dp_1", status=status)])
        plan(world.settings, world.engine)
    assert world.states() == {"dp_1": ["superseded", "superseded", "ready"]}
    assert deliver(world.settings, world.engine).delivered == 1
    [file] = (world.settings.data_dir / "outbox" / "files" / "test_route").glob("*.json")
    assert json.loads(file.read_text())["payload"]["status"] == "needs_response"


def test_when_lets_only_some_rows_through(world: World) -> None:
    world.write(route("enter", "when: {status: [won, lost]}\nbackfill: true\n"))
    world.publish([dispute("dp_1"), dispute("dp_2", status="won")])
    plan(world.settings, world.engine)
    assert world.states() == {"dp_2": ["ready"]}


def test_more_effects_than_the_limit_are_held_until_a_person_lets_them_go(world: World) -> None:
    world.write(route("event", "limits: {per_run: 2, on_exceed: hold}\nbackfill: true\n"))
    world.publish([dispute("dp_0")])
    plan(world.settings, world.engine)
    world.publish([dispute(f"dp_{n}") for n in range(4)])
    [report] = plan(world.settings, world.engine).routes
    assert (report.new, report.held) == (3, 3)
    sent = deliver(world.settings, world.engine)
    assert (sent.delivered, sent.held) == (1, 3)
    from dagster_project.activation.overview import effects

    held = effects(world.engine, state="held")[0]["id"]
    assert replay(world.engine, held[:12], happened=True) == held
    assert deliver(world.settings, world.engine).delivered == 1


def test_a_dry_run_says_what_would_be_and_changes_nothing(world: World) -> None:
    world.write(route("event", "backfill: true\n"))
    world.publish([dispute("dp_1")])
    said = plan(world.settings, world.engine, dry_run=True)
    assert said.lines() == ["test_route → outbox: 1 new (dp_1)"]
    assert world.states() == {}
    assert plan(world.settings, world.engine).new == 1


def test_a_later_step_waits_and_its_condition_is_read_again(world: World) -> None:
    world.write(
        "route: test_route\nfrom: disputes_opened\nmode: enter\nwhile: still_open\nbackfill: true\n"
        "steps:\n  - {to: outbox, map: {id: key}}\n  - {to: outbox, map: {id: key}, after: 3d}\n"
    )
    world.publish([dispute("dp_1"), dispute("dp_2")])
    plan(world.settings, world.engine)
    world.publish([dispute("dp_1"), dispute("dp_2", still_open=False)])
    report = deliver(world.settings, world.engine)
    assert (report.delivered, report.cancelled) == (1, 1)
    assert world.states() == {"dp_1": ["delivered", "ready"], "dp_2": ["cancelled", "ready"]}


def test_nulls_are_left_out_unless_the_route_writes_them(world: World) -> None:
    world.write(route("event", "nulls: write\nbackfill: true\n"), "a.yaml")
    world.write(route("event", "backfill: true\n").replace("test_route", "other_route"), "b.yaml")
    world.publish([dispute("dp_1", due_by=None)])
    plan(world.settings, world.engine)
    deliver(world.settings, world.engine)
    files = world.settings.data_dir / "outbox" / "files"
    [written], [omitted] = (
        [json.loads(path.read_text())["payload"] for path in (files / name).glob("*.json")]
        for name in ("test_route", "other_route")
    )
    assert (written["due"], "due" in omitted) == (None, False)


def test_a_key_that_is_twice_there_refuses_to_be_planned(world: World) -> None:
    world.write(route("event", "backfill: true\n"))
    world.publish([dispute("dp_1"), dispute("dp_1")])
    with pytest.raises(WarehouseError, match="'dp_1' is twice there"):
        plan(world.settings, world.engine)
    assert world.states() == {}


def test_a_column_that_the_outcome_does_not_have_is_named_with_its_file(world: World) -> None:
    world.publish([])
    world.write("route: test_route\nfrom: disputes_opened\nsteps: [{to: outbox, map: {id: key, x: colour}}]\n")
    with pytest.raises(
        UsageError, match=r"route.yaml, route test_route: outcomes.disputes_opened has no column colour"
    ):
        plan(world.settings, world.engine)


def test_without_a_published_version_the_message_says_what_to_do(world: World) -> None:
    world.write(route("event"))
    with pytest.raises(WarehouseError, match="Nothing is published yet"):
        plan(world.settings, world.engine)


def test_events_are_routed_as_they_arrive(world: World) -> None:
    world.write(
        "route: straight\non: [charge.dispute.created]\nbackfill: true\n"
        "steps: [{to: outbox, map: {event: event_id, what: type}}]\n"
    )
    event = {"object": "event", "id": "evt_1", "type": "charge.dispute.created", "created": 1, "data": {"object": {}}}
    store(world.engine, json.dumps(event).encode())
    store(world.engine, json.dumps({**event, "id": "evt_2", "type": "charge.updated"}).encode())
    assert [plan(world.settings, world.engine).new for _ in range(2)] == [1, 0]
    store(world.engine, json.dumps({**event, "id": "evt_3"}).encode())
    assert plan(world.settings, world.engine).new == 1
    assert world.states() == {"evt_1": ["ready"], "evt_3": ["ready"]}
