"""What was landed is there whole, or it was not landed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagster_project.errors import LandingError, StorageError
from dagster_project.stripe_api.landing import Batch, Landing

AT = datetime(2026, 11, 15, 12, 0, tzinfo=UTC)


def write(landing: Landing, lines: list[bytes], **changes: Any) -> Batch:
    fields: dict[str, Any] = {
        "object": "charges", "account_id": "acct_1", "livemode": True, "source": "list",
        "observed_at": AT, "lines": lines,
        "requests": [{"path": "/v1/charges", "request_id": "req_1", "rows": len(lines)}],
        "api_version": "2026-10-28.endive",
    }  # fmt: skip
    return landing.write(**{**fields, **changes})


def test_a_batch_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    lines = [b'{"id":"ch_1","amount":1.50}', '{"id":"ch_2","name":"Zoë\\n"}'.encode()]
    written = write(landing, lines, parent="in_1", cursor={"high": 9})
    (found,) = landing.batches()
    assert found == written
    assert found.lines() == lines
    assert found.observed_at == AT
    assert found.key.startswith("acct_1/live/charges/")
    landing.verify(found)


def test_batches_come_in_the_order_in_which_they_were_landed_whatever_the_object(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    written = [write(landing, [b"{}"], object=name).key for name in ("refunds", "charges", "invoices", "charges")]
    assert [batch.key for batch in landing.batches()] == written
    assert [batch.key for batch in landing.batches(known=set(written[:3]))] == written[3:]


def test_a_file_without_manifest_was_never_landed(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    batch = write(landing, [b"{}"])
    next(tmp_path.rglob("*.manifest.json")).unlink()
    assert batch.path.exists()
    assert list(landing.batches()) == []


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1]), None])
def test_a_file_that_was_cut_changed_or_lost_is_named(tmp_path: Path, damage: Any) -> None:
    landing = Landing(tmp_path)
    batch = write(landing, [b'{"id":"ch_1"}'] * 10)
    if damage is None:
        batch.path.unlink()
    else:
        batch.path.write_bytes(damage(batch.path.read_bytes()))
    with pytest.raises(LandingError, match=batch.path.name):
        landing.verify(batch)


def test_a_manifest_that_cannot_be_read_is_an_error_and_not_a_gap(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    write(landing, [b"{}"])
    next(tmp_path.rglob("*.manifest.json")).write_bytes(b'{"object":"char')
    with pytest.raises(LandingError, match="Manifest"):
        list(landing.batches())


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "landing").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="charges could not be landed"):
        write(Landing(tmp_path / "landing"), [b"{}"])


def test_an_account_id_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="cannot name a folder"):
        write(Landing(tmp_path), [b"{}"], account_id="../x")
