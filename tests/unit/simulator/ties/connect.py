"""What moves between a platform and its connected accounts is the same on both sides."""

from __future__ import annotations

from collections.abc import Iterator

from tests.unit.simulator.ties.books import Books, Object, by, converted


def findings(books: dict[str, Books]) -> Iterator[str]:
    platform = next(iter(books.values()))
    reversals = by(platform.all("transfer_reversal"), "transfer")
    for transfer in platform.all("transfer"):
        yield from _transfer(platform, books[transfer["destination"]], transfer, reversals.get(transfer["id"], []))
    refunds = by(platform.all("fee_refund"), "fee")
    for fee in platform.all("application_fee"):
        yield from _fee(platform, books[fee["account"]], fee, refunds.get(fee["id"], []))
    arrived = {transfer["destination_payment"] for transfer in platform.all("transfer")}
    taken = {fee["id"] for fee in platform.all("application_fee")}
    for there in books.values():
        for charge in there.all("charge"):
            if charge["source_transfer"] and charge["id"] not in arrived:
                yield f"{charge['id']}: a payment of a transfer that does not exist"
            if charge["application_fee"] and charge["application_fee"] not in taken:
                yield f"{charge['id']}: an application fee that the platform does not have"


def _transfer(platform: Books, there: Books, transfer: Object, reversals: list[Object]) -> Iterator[str]:
    id, row = transfer["id"], platform.the("balance_transaction", transfer["balance_transaction"])
    if row["amount"] != -converted(transfer["amount"], transfer["currency"], row["currency"], row["exchange_rate"]):
        yield f"{id}: {row['amount']} left the platform instead of {transfer['amount']}"
    payment = there.find("charge", transfer["destination_payment"])
    if payment is None or (payment["source_transfer"], payment["amount"], payment["currency"]) != (
        id, transfer["amount"], transfer["currency"],
    ):  # fmt: skip
        yield f"{id}: it did not arrive as it was sent"
        return
    back = sum(reversal["amount"] for reversal in reversals)
    if (transfer["amount_reversed"], payment["amount_refunded"]) != (back, back):
        yield f"{id}: amount_reversed is not the sum {back} of its reversals on both sides"
    if transfer["reversed"] != (back == transfer["amount"]):
        yield f"{id}: reversed is {transfer['reversed']} with {back} of {transfer['amount']}"
    for reversal in reversals:
        row = platform.the("balance_transaction", reversal["balance_transaction"])
        paid_back = there.find("refund", reversal["destination_payment_refund"])
        if paid_back is None or paid_back["amount"] != reversal["amount"] or row["amount"] <= 0:
            yield f"{reversal['id']}: it did not come back as it was taken"


def _fee(platform: Books, there: Books, fee: Object, refunds: list[Object]) -> Iterator[str]:
    id, row = fee["id"], platform.the("balance_transaction", fee["balance_transaction"])
    if row["amount"] != converted(fee["amount"], fee["currency"], row["currency"], row["exchange_rate"]):
        yield f"{id}: {row['amount']} arrived at the platform instead of {fee['amount']}"
    charge = there.find("charge", fee["charge"])
    if charge is None or charge["application_fee"] != id:
        yield f"{id}: its charge does not know it"
        return
    paid = there.the("balance_transaction", charge["balance_transaction"])
    parts = [part["amount"] for part in paid["fee_details"] if part["type"] == "application_fee"]
    if parts != [converted(fee["amount"], fee["currency"], paid["currency"], paid["exchange_rate"])]:
        yield f"{id}: {parts} was taken from the charge instead of {fee['amount']}"
    back = sum(refund["amount"] for refund in refunds)
    if fee["amount_refunded"] != back or fee["refunded"] != (back == fee["amount"]):
        yield f"{id}: amount_refunded {fee['amount_refunded']} is not the sum {back} of its refunds"
    for refund in refunds:
        gone = platform.the("balance_transaction", refund["balance_transaction"])
        expected = -converted(refund["amount"], refund["currency"], gone["currency"], gone["exchange_rate"])
        if gone["amount"] != expected:
            yield f"{refund['id']}: {gone['amount']} left the platform instead of {expected}"
    given = [
        row
        for row in there.all("balance_transaction")
        if row["source"] == fee["charge"] and row["type"] == "adjustment"
    ]
    if sum(row["amount"] for row in given) < 0 or len(given) != len(refunds):
        yield f"{id}: {len(refunds)} refunds, of which {len(given)} arrived"
