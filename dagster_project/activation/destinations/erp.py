"""The ERP journal as files: CSV for an import, beancount for an independent check of the balance.

Both hold one entry per effect and are rewritten whole, so that sending again changes nothing and a crash leaves the
version before. The CSV is what the next rewrite starts from.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dagster_project.activation.destinations.base import Destination, NotApplied, Outgoing, Permanent
from dagster_project.activation.destinations.outbox import write_atomic

COLUMNS = (
    "effect_id", "date", "reference", "number", "customer_id", "narration", "account", "debit", "credit", "currency",
    "exponent", "account_id", "livemode",
)  # fmt: skip
# The chart of accounts of the journal models, as beancount's five roots; what is not here is suspense.
_ROOTS = {
    "Assets": (
        "stripe_clearing", "payouts_in_transit", "bank", "stripe_reserve", "accounts_receivable", "disputes_receivable",
        "input_tax", "stripe_receipts", "out_of_band_receipts", "suspense",
    ),
    "Liabilities": (
        "connect_payable", "customer_credit_balance", "refunds_payable", "sales_tax_payable", "deferred_revenue",
        "customer_overpayments",
    ),
    "Income": ("revenue", "application_fee_revenue", "refunds", "credit_notes", "fx_gain_loss"),
    "Expenses": ("processing_fees", "stripe_product_fees", "payout_fees", "dispute_fees", "dispute_losses"),
}  # fmt: skip
_ROOT = {name: root for root, names in _ROOTS.items() for name in names}


@dataclass(frozen=True)
class Line:
    """Amounts are minor units of the entry's currency; one of the two is 0."""

    account: str
    debit: int
    credit: int


@dataclass(frozen=True)
class Entry:
    """`exponent`: how many of the amounts' digits are decimals (0 for JPY)."""

    effect_id: str
    date: str
    reference: str
    number: str
    customer_id: str
    narration: str
    currency: str
    exponent: int
    account_id: str
    livemode: str
    lines: tuple[Line, ...]


class ErpJournal(Destination):
    recovery = "upsert"
    batch = 20_000
    lease_s = 300.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send_many(self, effects: Sequence[Outgoing]) -> list[str | Exception | None]:
        results = [_entry(effect) for effect in effects]
        new = [entry for entry in results if isinstance(entry, Entry)]
        with self._locked():
            entries = {entry.effect_id: entry for entry in self.entries()}
            entries.update((entry.effect_id, entry) for entry in new)
            ordered = sorted(entries.values(), key=lambda entry: (entry.date, entry.reference, entry.effect_id))
            write_atomic(self.folder / "journal.beancount", _beancount(ordered))
            write_atomic(self.folder / "journal.csv", _csv(ordered))
        return [result.reference if isinstance(result, Entry) else result for result in results]

    def entries(self) -> list[Entry]:
        """What the journal holds."""
        file = self.folder / "journal.csv"
        if not file.exists():
            return []
        found: dict[str, tuple[dict[str, str], list[Line]]] = {}
        with file.open(encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows):
                _, lines = found.setdefault(row["effect_id"], (row, []))
                places = int(row["exponent"])
                lines.append(Line(row["account"], _minor(row["debit"], places), _minor(row["credit"], places)))
        return [
            Entry(
                **{name: row[name] for name in COLUMNS if name not in ("account", "debit", "credit", "exponent")},
                exponent=int(row["exponent"]),
                lines=tuple(lines),
            )
            for row, lines in found.values()
        ]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time: what another adds between reading and writing would be lost."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise NotApplied(f"{self.folder}: {error.strerror}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _entry(effect: Outgoing) -> Entry | Permanent:
    """The entry, or why it cannot be one: something is missing or it does not balance."""
    payload: dict[str, Any] = effect.payload
    try:
        lines = tuple(
            Line(str(line["account"]), int(line["debit"] or 0), int(line["credit"] or 0)) for line in payload["lines"]
        )
        entry = Entry(
            effect_id=effect.id,
            date=datetime.fromisoformat(payload["date"]).date().isoformat(),
            reference=str(payload["reference"]),
            number=str(payload.get("number") or ""),
            customer_id=str(payload.get("customer_id") or ""),
            narration=_no_formula(str(payload.get("narration") or "")),
            currency=str(payload["currency"]).upper(),
            exponent=int(payload["exponent"]),
            account_id=str(payload.get("account_id") or ""),
            livemode=str(bool(payload.get("livemode"))).lower(),
            lines=tuple(line for line in lines if line.debit or line.credit),
        )
    except (KeyError, TypeError, ValueError) as error:
        return Permanent(f"The journal entry of {effect.key} is incomplete: {error!r}")
    debit, credit = sum(line.debit for line in lines), sum(line.credit for line in lines)
    if not entry.lines:
        return Permanent(f"The journal entry of {effect.key} has no lines.")
    if debit != credit:
        return Permanent(f"The journal entry of {effect.key} does not balance: debit {debit}, credit {credit}.")
    return entry


def _no_formula(text: str) -> str:
    """A customer chooses its name; a spreadsheet must not run it."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _csv(entries: Iterable[Entry]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        head = (entry.effect_id, entry.date, entry.reference, entry.number, entry.customer_id, entry.narration)
        tail = (entry.currency, entry.exponent, entry.account_id, entry.livemode)
        for line in entry.lines:
            amounts = (_major(line.debit, entry.exponent), _major(line.credit, entry.exponent))
            writer.writerow((*head, line.account, *amounts, *tail))
    return out.getvalue()


def _beancount(entries: Sequence[Entry]) -> str:
    first = min((entry.date for entry in entries), default="1970-01-01")
    exponents = {entry.currency: entry.exponent for entry in entries}
    accounts = sorted({line.account for entry in entries for line in entry.lines})
    parts = ['option "title" "Ledgerline: paid invoices"\n']
    parts += [f'option "operating_currency" "{currency}"\n' for currency in sorted(exponents)]
    parts += [f"{first} commodity {code}\n  precision: {places}\n" for code, places in sorted(exponents.items())]
    parts += [f"{first} open {_account(account)}\n" for account in accounts]
    for entry in entries:
        parts.append(f"\n{entry.date} * {_quoted(entry.narration)}\n")
        parts.append(f"  invoice: {_quoted(entry.reference)}\n  effect: {_quoted(entry.effect_id)}\n")
        for line in entry.lines:
            amount = _major(line.debit - line.credit, entry.exponent)
            parts.append(f"  {_account(line.account)}  {amount} {entry.currency}\n")
    return "".join(parts)


def _account(name: str) -> str:
    """`accounts_receivable` as `Assets:Accounts-Receivable`."""
    root = _ROOT.get(name)
    leaf = "-".join(part.capitalize() for part in name.split("_") if part)
    return f"{root}:{leaf}" if root else f"Assets:Suspense:{leaf}"


def _quoted(text: str) -> str:
    return json.dumps(" ".join(text.split()), ensure_ascii=False)


def _major(minor: int, places: int) -> str:
    """Minor units as decimal text, exactly: 1234567 with 2 places is 12345.67."""
    digits = f"{abs(minor):0{places + 1}d}"
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if minor < 0 else text


def _minor(text: str, places: int) -> int:
    whole, _, part = text.partition(".")
    return int(f"{whole}{part.ljust(places, '0')}")
