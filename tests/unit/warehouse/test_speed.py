"""How loading scales; prints what it measured (pytest -s)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from warehouse_world import Bench, charge

ROWS, FILE = 200_000, 10_000


def big_charge(number: int) -> dict[str, object]:
    """About as many bytes as a real charge."""
    details = {
        "card": {"brand": "visa", "last4": "4242", "network": "visa", "checks": {"cvc_check": "pass"}},
        "type": "card",
    }
    billing = {
        "address": {"city": "Berlin", "country": "DE", "line1": "Street 1"},
        "email": f"person{number}@example.com",
    }
    return charge(
        f"ch_{number:09}", balance_transaction=f"txn_{number:09}", customer=f"cus_{number // 10:08}",
        payment_method_details=details, billing_details=billing, metadata={"order": str(number)},
        outcome={"network_status": "approved_by_network", "risk_level": "normal", "seller_message": "Complete."},
    )  # fmt: skip


def test_a_load_costs_what_it_brings_and_not_what_exists(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    batches = [
        bench.land("charges", [big_charge(n) for n in range(low, low + FILE)], 10) for low in range(0, ROWS, FILE)
    ]
    began = time.perf_counter()
    assert bench.load_batches("charges", batches).inserted == ROWS
    first = time.perf_counter() - began
    changed = [big_charge(n) | {"refunded": True} for n in range(0, ROWS, ROWS // 500)]
    batch = bench.land("charges", changed, 20, "read")
    began = time.perf_counter()
    assert bench.load_batches("charges", [batch]).changed == 500
    again = time.perf_counter() - began
    size = Path(bench.warehouse.build).stat().st_size
    with capsys.disabled():
        print(
            f"\n{ROWS:,} charges with history: {first:.1f} s ({ROWS / first:,.0f} rows/s), "
            f"{size / ROWS:.0f} bytes each; 500 changed: {again:.2f} s"
        )
    assert again < max(first / 4, 2)
