"""Sensors, on an instance of their own and on the real ops database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.orchestration.resources import Pipeline
from dagster_project.orchestration.sensors import build_failure_sensor, effects_sensor, inbox_sensor
from dagster_project.receiver.inbox import store
from dagster_project.stripe_api.allocation import record
from dagster_project.stripe_api.governor import Governor
from dagster_project.warehouse.schema import ensure
from tests.orchestration.conftest import settings_in


def context(instance: dg.DagsterInstance, pipeline: Pipeline, cursor: str | None = None) -> dg.SensorEvaluationContext:
    return dg.build_sensor_context(instance=instance, cursor=cursor, resources={"ledgerline": pipeline})


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(settings_in(tmp_path / "data"))


@pytest.fixture
def receive(pipeline: Pipeline) -> Callable[[str], None]:
    def arrive(event: str) -> None:
        body = {
            "object": "event",
            "id": event,
            "type": "charge.updated",
            "created": 1,
            "data": {"object": {"id": "ch_1"}},
        }
        with pipeline.ops() as engine:
            assert store(engine, json.dumps(body).encode())

    return arrive


def test_nothing_in_the_inbox_starts_nothing(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    with context(instance, pipeline) as given:
        assert isinstance(inbox_sensor(given), dg.SkipReason)


def test_webhooks_of_one_tick_share_one_refresh_and_are_not_asked_for_twice(
    instance: dg.DagsterInstance, pipeline: Pipeline, receive: Callable[[str], None]
) -> None:
    receive("evt_1")
    receive("evt_2")
    with context(instance, pipeline) as given:
        request = inbox_sensor(given)
        assert isinstance(request, dg.RunRequest)
        cursor = given.cursor
    with context(instance, pipeline, cursor) as given:
        assert isinstance(inbox_sensor(given), dg.SkipReason)
    receive("evt_3")
    with context(instance, pipeline, cursor) as given:
        again = inbox_sensor(given)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key != request.run_key


def test_a_refresh_that_is_queued_takes_later_webhooks_along(
    instance: dg.DagsterInstance, pipeline: Pipeline, defs: dg.Definitions, receive: Callable[[str], None]
) -> None:
    receive("evt_1")
    job = defs.resolve_job_def("refresh")
    queued = instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    with context(instance, pipeline) as given:
        assert isinstance(inbox_sensor(given), dg.SkipReason)
    instance.report_run_failed(queued)
    with context(instance, pipeline) as given:
        assert isinstance(inbox_sensor(given), dg.RunRequest)


@pytest.fixture
def spent(tmp_path: Path) -> Pipeline:
    """An account that has used nearly all reads that Stripe allows it."""
    pipeline = Pipeline(settings_in(tmp_path / "data", STRIPE_API_KEY="sk_live_unit"))
    with pipeline.warehouse.connect() as con:
        ensure(con)
        record(con, ("acct_1", True), datetime.now(UTC), Governor(requests=Counter({"/charges": 9_450})))
    return pipeline


def test_polling_pauses_with_a_reason_where_the_read_allocation_is_nearly_used(
    instance: dg.DagsterInstance, defs: dg.Definitions, spent: Pipeline, tmp_path: Path
) -> None:
    hourly = defs.resolve_schedule_def("refresh_hourly")
    reasons = []
    with dg.build_schedule_context(instance=instance, resources={"ledgerline": spent}) as given:
        reasons.append(hourly.evaluate_tick(given).skip_message)
    with spent.ops() as engine:
        event = {"object": "event", "id": "evt_1", "type": "charge.updated", "created": 1, "data": {"object": {}}}
        assert store(engine, json.dumps(event).encode())
    with context(instance, spent) as given:
        skipped = inbox_sensor(given)
        assert isinstance(skipped, dg.SkipReason)
        reasons.append(skipped.skip_message)
    assert all("acct_1 has used 9,450 of the 10,000 reads" in (reason or "") for reason in reasons)
    fresh = Pipeline(settings_in(tmp_path / "fresh", STRIPE_API_KEY="sk_live_unit"))
    with dg.build_schedule_context(instance=instance, resources={"ledgerline": fresh}) as given:
        assert len(hourly.evaluate_tick(given).run_requests or []) == 1


def test_no_effect_is_due_when_there_is_none(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    with context(instance, pipeline) as given:
        assert isinstance(effects_sensor(given), dg.SkipReason)


def test_due_effects_start_one_delivery_at_a_time(
    instance: dg.DagsterInstance, pipeline: Pipeline, defs: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"destination": "slack", "ready": 2}, {"destination": "erp", "ready": 0}]
    monkeypatch.setattr("dagster_project.activation.overview.overview", lambda _engine: rows)
    with context(instance, pipeline) as given:
        assert isinstance(effects_sensor(given), dg.RunRequest)
    instance.create_run_for_job(defs.resolve_job_def("deliver"), status=dg.DagsterRunStatus.STARTED)
    with context(instance, pipeline) as given:
        assert isinstance(effects_sensor(given), dg.SkipReason)


def test_a_failed_run_leaves_a_note_in_the_outbox_without_the_key(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    @dg.op
    def breaks() -> None:
        raise ValueError("the key sk_live_abcdefghijklmnop was refused")

    @dg.job
    def broken() -> None:
        breaks()

    result = broken.execute_in_process(instance=instance, raise_on_error=False)
    failure = result.get_run_failure_event()
    given = dg.build_run_status_sensor_context(
        sensor_name="run_failures", dagster_instance=instance, dagster_run=result.dagster_run, dagster_event=failure
    ).for_run_failure()
    build_failure_sensor(pipeline.settings)(given)
    [note] = (pipeline.settings.data_dir / "outbox" / "failures").glob("*.json")
    written = json.loads(note.read_text())
    assert (written["run"], written["job"]) == (result.run_id, "broken")
    assert "abcdefghijklmnop" not in note.read_text()
