"""The instance folder: written once, a person's edits kept, safe to prepare from two processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.errors import StorageError
from dagster_project.orchestration import instance as module
from dagster_project.orchestration.instance import prepare_home
from tests.orchestration.conftest import settings_in


def test_a_fresh_home_has_a_limited_pool_freed_slots_and_no_telemetry(tmp_path: Path) -> None:
    home = prepare_home(settings_in(tmp_path))
    written = yaml.safe_load((home / "dagster.yaml").read_text())
    assert written["telemetry"] == {"enabled": False}
    assert written["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}
    assert written["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_run_records() == []
        assert instance.run_monitoring_enabled


def test_what_a_person_edited_stays(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    file = prepare_home(settings) / "dagster.yaml"
    file.write_text(file.read_text().replace("num_workers: 4", "num_workers: 2"))
    prepare_home(settings)
    assert "num_workers: 2" in file.read_text()


def test_an_untouched_file_follows_a_newer_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    file = prepare_home(settings) / "dagster.yaml"
    newer = tmp_path / "newer"
    newer.write_text(file.read_text() + "\n# newer\n")
    monkeypatch.setattr(module, "TEMPLATE", newer)
    prepare_home(settings)
    assert file.read_text().endswith("# newer\n")


def test_two_processes_may_start_on_a_fresh_home(tmp_path: Path) -> None:
    code = (
        "from dagster_project.settings import Settings\n"
        "from dagster_project.orchestration.instance import opened\n"
        f"with opened(Settings.load({{'LEDGERLINE_DATA_DIR': {str(tmp_path)!r}}})) as i: print(len(i.get_runs()))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output.strip()) == (0, "0"), errors


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/dagster cannot be written"):
        prepare_home(settings_in(tmp_path / "file"))
