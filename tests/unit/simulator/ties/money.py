"""The ledger: balance, payouts, charges, refunds and disputes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.unit.simulator.ties.books import Books, Object, by, converted

_DAY = 86_400
# Rows that stand for one object each, which points back at them.
_OWNED = {
    "charge", "payment", "refund", "payment_refund", "refund_failure", "payment_failure_refund", "payout",
    "payout_failure", "payout_cancel", "transfer", "transfer_refund", "application_fee", "application_fee_refund",
    "topup", "topup_reversal",
}  # fmt: skip
_OWNERS = (
    "charge", "refund", "payout", "transfer", "transfer_reversal", "application_fee", "fee_refund", "topup",
)  # fmt: skip
_GIVEN_BACK = ("succeeded", "pending", "requires_action")  # a failed or canceled refund is none


def findings(books: Books) -> Iterator[str]:
    yield from _rows(books)
    yield from _balance(books)
    yield from _owners(books)
    for payout in books.all("payout"):
        yield from _payout(books, payout)
    yield from _batches(books)
    refunds, disputes = by(books.all("refund"), "charge"), by(books.all("dispute"), "charge")
    for charge in books.all("charge"):
        yield from _charge(books, charge, refunds.get(charge["id"], []), disputes.get(charge["id"], []))
    for refund in books.all("refund"):
        yield from _refund(books, refund)
    for dispute in books.all("dispute"):
        yield from _dispute(books, dispute)


def _rows(books: Books) -> Iterator[str]:
    for row in books.all("balance_transaction"):
        if row["net"] != row["amount"] - row["fee"]:
            yield f"{row['id']}: net {row['net']} is not amount {row['amount']} - fee {row['fee']}"
        if row["fee"] != sum(part["amount"] for part in row["fee_details"]):
            yield f"{row['id']}: fee {row['fee']} is not the sum of its details"
        if any(part["currency"] != row["currency"] for part in row["fee_details"]):
            yield f"{row['id']}: a fee in another currency"
        due = row["available_on"] <= books.now
        if row["status"] == "available" and not due:
            yield f"{row['id']}: available before {row['available_on']}"
        if row["status"] == "pending" and row["available_on"] <= books.now - _DAY:
            yield f"{row['id']}: still pending after {row['available_on']}"


def _balance(books: Books) -> Iterator[str]:
    for status in ("available", "pending"):
        sums: Counter[str] = Counter()
        for row in books.all("balance_transaction"):
            if row["status"] == status and row["balance_type"] == "payments":
                sums[row["currency"]] += row["net"]
        shown = Counter({part["currency"]: part["amount"] for part in books.balance[status]})
        for currency in sums.keys() | shown.keys():
            if sums[currency] != shown[currency]:
                yield f"balance {status} {currency}: {shown[currency]} is not the sum {sums[currency]}"


def _owners(books: Books) -> Iterator[str]:
    named: Counter[str] = Counter()
    for kind in _OWNERS:
        for obj in books.all(kind):
            for field in ("balance_transaction", "failure_balance_transaction"):
                named[obj.get(field) or ""] += 1
    for row in books.all("balance_transaction"):
        if row["type"] in _OWNED and named[row["id"]] != 1:
            yield f"{row['id']} ({row['type']}): {named[row['id']]} objects point at it"
    for id in named.keys() - {""}:
        if books.find("balance_transaction", id) is None:
            yield f"{id}: an object points at a balance transaction that does not exist"


def _payout(books: Books, payout: Object) -> Iterator[str]:
    id, amount = payout["id"], payout["amount"]
    own = books.find("balance_transaction", payout["balance_transaction"])
    if own is None or (own["amount"], own["currency"], own["source"]) != (-amount, payout["currency"], id):
        yield f"{id}: its own balance transaction is not -{amount}"
    batch = [books.the("balance_transaction", row) for row in books.batches[id] if row != payout["balance_transaction"]]
    if payout["automatic"]:
        if sum(row["net"] for row in batch) != amount:
            yield f"{id}: {amount} is not the sum {sum(row['net'] for row in batch)} of its batch"
        if any(row["currency"] != payout["currency"] or row["status"] != "available" for row in batch):
            yield f"{id}: its batch holds another currency, or pending money"
    elif batch:
        yield f"{id}: a payout by hand is not itemised"
    if payout["status"] == "paid" and payout["arrival_date"] > books.now:
        yield f"{id}: paid before it arrives"
    back = books.find("balance_transaction", payout["failure_balance_transaction"])
    if payout["status"] in ("failed", "canceled"):
        if back is None or (back["amount"], back["source"]) != (amount, id):
            yield f"{id}: {payout['status']}, and its money is not back"
    elif back is not None:
        yield f"{id}: {payout['status']}, and its money is back"


def _batches(books: Books) -> Iterator[str]:
    times = Counter(row for rows in books.batches.values() for row in rows)
    for id, count in times.items():
        if count > 1:
            yield f"{id}: paid out {count} times"


def _charge(books: Books, charge: Object, refunds: list[Object], disputes: list[Object]) -> Iterator[str]:
    id, row = charge["id"], books.find("balance_transaction", charge["balance_transaction"])
    taken = charge["amount_captured"] if charge["status"] != "pending" else charge["amount"]
    taken += sum(refund["amount"] for refund in refunds if _releases(books, refund))
    back = books.find("balance_transaction", charge["failure_balance_transaction"])
    if charge["status"] == "failed":
        if row is not None and (back is None or back["amount"] != -row["amount"]):
            yield f"{id}: failed, and its money is not taken back"
    elif charge["captured"] and row is None:
        yield f"{id}: {charge['status']} without a balance transaction"
    elif row is not None:
        expected = converted(taken, charge["currency"], row["currency"], row["exchange_rate"])
        if row["amount"] != expected or row["source"] != id:
            yield f"{id}: its balance transaction holds {row['amount']} instead of {expected}"
        if (row["currency"] == charge["currency"]) != (row["exchange_rate"] is None):
            yield f"{id}: an exchange rate without an exchange, or the other way round"
    given = sum(refund["amount"] for refund in refunds if refund["status"] in _GIVEN_BACK)
    if charge["amount_refunded"] != given:
        yield f"{id}: amount_refunded {charge['amount_refunded']} is not the sum {given} of its refunds"
    whole = charge["amount_refunded"] == charge["amount"] and charge["paid"]
    if charge["refunded"] != whole:
        yield f"{id}: refunded is {charge['refunded']} with {charge['amount_refunded']} of {charge['amount']}"
    if given > charge["amount"] or charge["amount_captured"] > charge["amount"]:
        yield f"{id}: more given back or captured than {charge['amount']}"
    if charge["disputed"] != bool(disputes):
        yield f"{id}: disputed is {charge['disputed']} with {len(disputes)} disputes"


def _releases(books: Books, refund: Object) -> bool:
    """Whether it gives back what was authorized, booked and not captured."""
    row = books.find("balance_transaction", refund["balance_transaction"])
    return row is not None and row["reporting_category"] == "partial_capture_reversal"


def _refund(books: Books, refund: Object) -> Iterator[str]:
    id, row = refund["id"], books.find("balance_transaction", refund["balance_transaction"])
    if row is None:
        # What was only authorized was never in the balance.
        if refund["status"] == "succeeded" and books.the("charge", refund["charge"])["balance_transaction"]:
            yield f"{id}: succeeded without a balance transaction"
        return
    expected = -converted(refund["amount"], refund["currency"], row["currency"], row["exchange_rate"])
    if (row["amount"], row["source"]) != (expected, id):
        yield f"{id}: its balance transaction holds {row['amount']} instead of {expected}"
    back = books.find("balance_transaction", refund.get("failure_balance_transaction"))
    if refund["status"] in ("failed", "canceled"):
        expected = back and converted(refund["amount"], refund["currency"], back["currency"], back["exchange_rate"])
        if back is None or back["amount"] != expected:
            yield f"{id}: {refund['status']}, and its money is not back"
    elif back is not None:
        yield f"{id}: {refund['status']}, and its money is back"


def _dispute(books: Books, dispute: Object) -> Iterator[str]:
    id, rows = dispute["id"], dispute["balance_transactions"]
    if dispute["amount"] > books.the("charge", dispute["charge"])["amount"]:
        yield f"{id}: about more than its charge"
    for row in rows:
        kept = books.find("balance_transaction", row["id"])
        if kept is None or any(kept[name] != row[name] for name in ("amount", "net", "source", "currency")):
            yield f"{id}: {row['id']} is not the balance transaction of that id"
        signed = converted(dispute["amount"], dispute["currency"], row["currency"], row["exchange_rate"])
        if abs(row["amount"]) != signed:
            yield f"{id}: {row['amount']} moved for {dispute['amount']} {dispute['currency']}"
    signs = [1 if row["amount"] > 0 else -1 for row in rows]
    if signs != [-1, 1, -1, 1][: len(signs)]:
        yield f"{id}: withdrawn and reinstated out of turn"
    untouched = dispute["status"] in ("won", "prevented") or dispute["status"].startswith("warning_")
    if sum(signs) != (0 if untouched else -1):
        yield f"{id}: {dispute['status']} with {len(rows)} movements"
