"""The jobs, run as the command line runs them, against a small simulated business."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import date

import dagster as dg
import duckdb
import pytest

from dagster_project.close import close_month
from dagster_project.errors import StripeUnreachable, UsageError, WarehouseError, WarehouseLocked
from dagster_project.orchestration.instance import opened
from dagster_project.orchestration.pools import WRITER
from dagster_project.orchestration.runs import PROCESS_TAG, Outcome, run_job, run_pipeline
from dagster_project.settings import Settings
from dagster_project.simulator.process import SimulatorHandle, advance, ensure_running
from dagster_project.warehouse.connection import Warehouse
from tests.orchestration.conftest import settings_in

PUBLISHED = dg.AssetKey(["warehouse", "published"])


@dataclasses.dataclass(frozen=True)
class Business:
    settings: Settings
    simulator: SimulatorHandle
    first: Outcome


@pytest.fixture(scope="module")
def business(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Business]:
    settings = settings_in(tmp_path_factory.mktemp("business"))
    simulator = ensure_running(settings.data_dir, customers=25, months=4)
    try:
        yield Business(settings, simulator, run_pipeline(settings, "refresh", mode="incremental"))
    finally:
        simulator.stop()


def made(outcome: Outcome) -> set[dg.AssetKey]:
    return {event.asset_key for event in outcome.result.get_asset_materialization_events() if event.asset_key}


def published_number(settings: Settings) -> int:
    return int((settings.data_dir / "warehouse.duckdb").resolve().parent.name)


def test_the_first_refresh_makes_every_asset_and_passes_every_check(business: Business) -> None:
    selected = business.first.result.job_def.asset_layer.selected_asset_keys
    assert made(business.first) == set(selected)
    assert business.first.problems == []
    failed = [c for c in business.first.result.get_asset_check_evaluations() if not c.passed]
    assert [(c.asset_key, c.check_name) for c in failed if c.severity == dg.AssetCheckSeverity.ERROR] == []
    with duckdb.connect(str(business.settings.data_dir / "warehouse.duckdb"), read_only=True) as con:
        assert con.execute("SELECT count(*) > 0 FROM stripe.charges").fetchone() == (True,)


def test_every_expected_check_was_evaluated_so_none_gates_silently(business: Business) -> None:
    with opened(business.settings) as instance:
        planned = instance.all_logs(
            business.first.result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
        )
    expected = {entry.get_dagster_event().asset_check_planned_data.asset_check_key for entry in planned}
    evaluated = {c.asset_check_key for c in business.first.result.get_asset_check_evaluations()}
    assert len(expected) > 2 * 62
    assert evaluated == expected


def test_runs_of_the_command_line_are_in_the_instance_under_their_job(business: Business) -> None:
    with opened(business.settings) as instance:
        run = instance.get_run_by_id(business.first.result.run_id)
    assert run is not None
    assert (run.job_name, run.status) == ("refresh", dg.DagsterRunStatus.SUCCESS)


def test_the_page_of_the_published_version_shows_size_age_and_a_chart(business: Business) -> None:
    [event] = [e for e in business.first.result.get_asset_materialization_events() if e.asset_key == PUBLISHED]
    metadata = event.materialization.metadata
    assert metadata["number"].value >= 1
    assert {"size in MB", "data until", "published at", "checksum"} <= set(metadata)
    assert "data:image/svg+xml;base64," in str(metadata["MRR by month"].value)


def test_previews_show_no_personal_data(business: Business) -> None:
    [event] = [
        e
        for e in business.first.result.get_asset_materialization_events()
        if e.asset_key == dg.AssetKey(["stripe", "customers"])
    ]
    records = event.materialization.metadata["preview"].records
    assert 0 < len(records) <= 5
    assert {"id", "created"} <= set(records[0].data)
    assert not {"email", "name", "phone", "description"} & set(records[0].data)


def test_an_object_shows_in_numbers_what_its_reading_did(business: Business) -> None:
    [event] = [
        e
        for e in business.first.result.get_asset_materialization_events()
        if e.asset_key == dg.AssetKey(["stripe", "charges"])
    ]
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert metadata["inserted"] == metadata["received"] == metadata["dagster/row_count"] > 0
    assert (metadata["changed"], metadata["deleted"], metadata["429s"], metadata["unknown"]) == (0, 0, 0, 0)
    assert metadata["requests"] >= 1
    assert metadata["objects per second"] > 0
    assert metadata["read from"] < metadata["read until"]


def test_the_accounts_show_the_requests_of_the_whole_run(business: Business) -> None:
    [event] = [
        e
        for e in business.first.result.get_asset_materialization_events()
        if e.asset_key == dg.AssetKey(["stripe", "accounts"])
    ]
    metadata = event.materialization.metadata
    assert metadata["all: requests"].value >= metadata["all: objects"].value / 100
    lines = {record.data["object"]: record.data for record in metadata["requests by object"].records}
    assert lines["charges"]["objects"] > 0
    assert {"requests", "429s", "objects/s", "limit used (%)"} <= set(lines["charges"])
    assert sum(line["requests"] for line in lines.values()) == metadata["all: requests"].value


def test_a_refresh_with_nothing_new_says_what_it_asked(business: Business) -> None:
    outcome = run_pipeline(business.settings, "refresh", mode="incremental")
    with opened(business.settings) as instance:
        [entry] = instance.all_logs(outcome.result.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    event = entry.get_dagster_event()
    assert event.asset_key == dg.AssetKey(["stripe", "accounts"])
    metadata = event.asset_observation_data.asset_observation.metadata
    assert metadata["all: objects"].value < 10
    assert metadata["all: requests"].value > 0


def test_a_refresh_with_nothing_new_makes_nothing_and_succeeds(business: Business) -> None:
    before = published_number(business.settings)
    outcome = run_pipeline(business.settings, "refresh", mode="incremental")
    assert outcome.result.success
    assert made(outcome) == set()
    skipped = {event.step_key for event in outcome.result.all_events if event.is_step_skipped}
    assert {"dbt", "warehouse__published", "effects__slack", "effects__erp"} <= skipped
    assert published_number(business.settings) == before
    assert outcome.lines == ["Nothing changed; the published version has it all."]


def test_models_without_publication_are_published_by_the_next_refresh_in_spite_of_an_unreadable_object(
    business: Business, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between dbt and publishing leaves models that no reader sees; a forbidden object holds up nothing."""
    from dagster_project.stripe_api import sync as module

    real = module.sync

    def forbidden(*args: object, **kwargs: object) -> module.SyncReport:
        report = real(*args, **kwargs)  # type: ignore[arg-type]
        row = dataclasses.replace(report.objects["reviews"], state="not_permitted", message="The key may not read it.")
        return dataclasses.replace(report, objects={**report.objects, "reviews": row})

    monkeypatch.setattr(module, "sync", forbidden)
    with Warehouse(business.settings.data_dir).connect() as con:
        con.execute("UPDATE sync.built SET version = -1")
    before = published_number(business.settings)
    outcome = run_pipeline(business.settings, "refresh", mode="incremental")
    step = "In Stripe's Dashboard (Developers, API keys) give the key read permission there."
    assert outcome.problems == [f"stripe.reviews: The key may not read it. {step}"]
    assert PUBLISHED in made(outcome)
    assert published_number(business.settings) == before + 1
    unchanged = run_pipeline(business.settings, "refresh", mode="incremental")
    assert (made(unchanged), unchanged.problems) == (set(), outcome.problems)


def test_what_changed_at_stripe_is_in_the_next_published_version(business: Business) -> None:
    before = published_number(business.settings)
    with duckdb.connect(str(business.settings.data_dir / "warehouse.duckdb"), read_only=True) as con:
        events = con.execute("SELECT count(*) FROM stripe.events").fetchone()
    advance(business.simulator.base_url, days=2)
    outcome = run_pipeline(business.settings, "refresh", mode="incremental")
    assert outcome.problems == []
    assert published_number(business.settings) == before + 1
    with duckdb.connect(str(business.settings.data_dir / "warehouse.duckdb"), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM stripe.events").fetchone() > events


def test_a_backfill_of_one_object_touches_only_that_one(business: Business) -> None:
    outcome = run_pipeline(business.settings, "backfill", mode="full", objects=["charges"])
    assert made(outcome) <= {dg.AssetKey(["stripe", "charges"])}
    assert outcome.result.success


def test_an_audit_passes_and_names_the_row_that_was_tampered_with(business: Business) -> None:
    full = {"ops": {"compare_with_stripe": {"config": {"full": True}}}}
    assert run_job(business.settings, "audit", run_config=full).success
    with Warehouse(business.settings.data_dir).connect() as con:
        row = con.execute("DELETE FROM stripe.charges WHERE id = (SELECT min(id) FROM stripe.charges) RETURNING id")
        [(charge,)] = row.fetchall()
    outcome = run_pipeline(business.settings, "audit")
    assert any("stripe.charges" in problem and charge in problem for problem in outcome.problems), outcome.problems
    # What the night does: the row is read again, and the check of that run still tells of it.
    repairing = {"ops": {"compare_with_stripe": {"config": {"full": True, "repair": True}}}}
    night = run_job(business.settings, "audit", run_config=repairing)
    [warned] = [check for check in night.get_asset_check_evaluations() if not check.passed]
    assert (warned.asset_key.path[-1], warned.severity) == ("charges", dg.AssetCheckSeverity.WARN)
    assert (warned.metadata["differences"].value, warned.metadata["repaired"].value) == (1, 1)
    assert charge in str(warned.metadata["rows"].value)
    again = run_job(business.settings, "audit", run_config=full)
    assert all(check.passed for check in again.get_asset_check_evaluations())
    assert run_pipeline(business.settings, "refresh", mode="incremental").problems == []
    with duckdb.connect(str(business.settings.data_dir / "warehouse.duckdb"), read_only=True) as con:
        states = con.execute(
            "SELECT object, state, count(*) FROM marts.mon_completeness "
            "WHERE object IN ('charges', 'invoice_line_items', 'discounts', 'quotes') GROUP BY ALL"
        ).fetchall()
    assert {(name, state) for name, state, _ in states} == {
        (name, "proven") for name in ("charges", "invoice_line_items", "discounts", "quotes")
    }


def test_deliver_sends_without_reading_stripe(business: Business) -> None:
    outcome = run_pipeline(business.settings, "deliver")
    assert made(outcome) == {dg.AssetKey(["effects", "slack"]), dg.AssetKey(["effects", "erp"])}


def test_a_second_writer_is_told_who_writes_and_changes_nothing(business: Business) -> None:
    with (business.settings.dagster_home / ".writer.lock").open("a+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.truncate(0)
        other.write("4711")
        other.flush()
        with opened(business.settings) as instance:
            runs = len(instance.get_runs())
        with pytest.raises(WarehouseLocked, match="PID 4711"):
            run_pipeline(business.settings, "refresh", mode="incremental")
        with opened(business.settings) as instance:
            assert len(instance.get_runs()) == runs


def test_a_run_of_the_daemon_that_writes_is_waited_for(business: Business, defs: dg.Definitions) -> None:
    with opened(business.settings) as instance:
        run = instance.create_run_for_job(
            defs.resolve_job_def("refresh"), status=dg.DagsterRunStatus.STARTED, tags=WRITER
        )
        try:
            with pytest.raises(WarehouseLocked, match=run.run_id[:8]):
                run_pipeline(business.settings, "refresh", mode="incremental")
        finally:
            instance.report_run_failed(run)


def test_a_run_whose_process_was_killed_blocks_nobody(business: Business, defs: dg.Definitions) -> None:
    with opened(business.settings) as instance:
        dead = instance.create_run_for_job(
            defs.resolve_job_def("refresh"), status=dg.DagsterRunStatus.STARTED, tags={PROCESS_TAG: "999999"}
        )
        instance.event_log_storage.initialize_concurrency_limit_to_default("duckdb_write")
        claim = instance.event_log_storage.claim_concurrency_slot("duckdb_write", dead.run_id, "extract")
        assert claim.is_claimed
    assert run_pipeline(business.settings, "refresh", mode="incremental").result.success
    with opened(business.settings) as instance:
        run = instance.get_run_by_id(dead.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_the_error_of_the_step_reaches_the_caller_as_it_was_raised(
    business: Business, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise StripeUnreachable("No connection to Stripe.", "Check the network.") from ConnectionRefusedError(111)

    monkeypatch.setattr("dagster_project.stripe_api.sync.sync", unreachable)
    with pytest.raises(StripeUnreachable) as caught:
        run_pipeline(business.settings, "refresh", mode="incremental")
    assert (caught.value.message, caught.value.next_step) == ("No connection to Stripe.", "Check the network.")
    with pytest.raises(UsageError, match="Unknown mode 'sideways'"):
        run_pipeline(business.settings, "refresh", mode="sideways")


def test_a_closed_month_has_its_files_and_their_hashes(business: Business) -> None:
    import hashlib

    with duckdb.connect(str(business.settings.data_dir / "warehouse.duckdb"), read_only=True) as con:
        [(until,)] = con.execute("SELECT strftime(max(data_until), '%Y-%m') FROM ops.publication").fetchall()
    year, month = map(int, until.split("-"))
    last = date(year - (month == 1), (month - 2) % 12 + 1, 1)
    run_job(business.settings, "close_month", partition_key=f"{last:%Y-%m-%d}")
    folder = business.settings.data_dir / "close" / f"{last:%Y-%m}"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["absent"] == []
    assert set(manifest["sha256"]) == {"mrr_rollforward.csv", "balances.csv", "payouts.csv", "journal_lines.csv"}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert len((folder / "balances.csv").read_text().splitlines()) > 1
    with pytest.raises(WarehouseError, match="is not over"):
        close_month(business.settings, date(year, month, 1))


def test_the_environment_is_as_it_was_after_a_run(business: Business) -> None:
    assert "LEDGERLINE_BUILD_FILE" not in os.environ
