"""Subscriptions: their periods from anchor and interval, and what each period costs by price, tiers and usage."""

from __future__ import annotations

from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

from tests.unit.simulator.ties.books import Books, Object

_DAY = 86_400
_RUNNING = ("active", "past_due", "trialing")


def findings(books: Books) -> Iterator[str]:
    billed: dict[str, list[Object]] = defaultdict(list)
    renewals: set[str] = set()
    restarts: set[tuple[str, int]] = set()
    for invoice in books.all("invoice"):
        for line in reversed(books.children["line_item"][invoice["id"]]):
            details = line["parent"]["subscription_item_details"]
            if details and not details["proration"]:
                billed[details["subscription_item"]].append(line)
                if invoice["billing_reason"] == "subscription_cycle":
                    renewals.add(line["id"])
                else:
                    restarts.add((details["subscription"], line["period"]["start"]))
                yield from _cost(books, invoice, line)
    for sub in books.all("subscription"):
        begun = {at for id, at in restarts if id == sub["id"]} | {sub["trial_end"], sub["billing_cycle_anchor"]}
        yield from _periods(books, sub)
        for item in sub["items"]["data"]:
            yield from _billed(books, sub, item, billed.get(item["id"], []), renewals, begun)


def edge(anchor: int, interval: str, count: int) -> int:
    """The anchor moved by `count` intervals: the same day of the month, or the month's last."""
    if interval in ("day", "week"):
        return anchor + count * (1 if interval == "day" else 7) * _DAY
    begin = datetime.fromtimestamp(anchor, UTC)
    year, month = divmod(begin.year * 12 + begin.month - 1 + count * (12 if interval == "year" else 1), 12)
    day = min(begin.day, monthrange(year, month + 1)[1])
    return int(begin.replace(year=year, month=month + 1, day=day).timestamp())


def following(anchor: int, recurring: Object, at: int) -> int:
    """The first edge after `at` of periods that are counted from the anchor."""
    interval, step = recurring["interval"], recurring["interval_count"]
    length = {"day": 1, "week": 7, "month": 31, "year": 366}[interval] * step * _DAY
    count = (at - anchor) // length - 1
    while edge(anchor, interval, count * step) <= at:
        count += 1
    return edge(anchor, interval, count * step)


def _periods(books: Books, sub: Object) -> Iterator[str]:
    anchor = sub["billing_cycle_anchor"]
    for item in sub["items"]["data"]:
        start, end = item["current_period_start"], item["current_period_end"]
        kept = books.find("subscription_item", item["id"])
        if kept is not None and kept != item:
            yield f"{item['id']}: not what its subscription embeds"
        if sub["status"] not in _RUNNING:
            continue
        clock = books.find("test_helpers.test_clock", sub.get("test_clock"))
        now = clock["frozen_time"] if clock else books.now
        if not start <= now <= end:
            yield f"{item['id']}: now is outside of its period"
        if sub["status"] == "trialing" and sub["trial_end"] == end:
            continue
        if end != following(anchor, item["price"]["recurring"], max(start, end - 1)):
            yield f"{item['id']}: its period does not end on an edge of its anchor"
        if start >= anchor and end != following(anchor, item["price"]["recurring"], start):
            yield f"{item['id']}: its period is not one interval long"


def _billed(
    books: Books, sub: Object, item: Object, lines: list[Object], renewals: set[str], begun: set[int]
) -> Iterator[str]:
    """A renewal begins where the period before it ended; what a new anchor, a pause or a trial begins is none."""
    lines = sorted(lines, key=lambda line: (line["period"]["start"], line["period"]["end"]))
    metered = item["price"]["recurring"]["usage_type"] == "metered"
    for before, after in pairwise(lines):
        begins = after["period"]["start"]
        if before["period"]["end"] != begins and after["id"] in renewals and begins not in begun:
            yield f"{after['id']}: does not begin where {before['id']} ended, at {before['period']['end']}"
    anchor = sub["billing_cycle_anchor"]
    for line in lines:
        recurring = books.the("price", line["pricing"]["price_details"]["price"])["recurring"]
        start, end = line["period"]["start"], line["period"]["end"]
        if start >= anchor and not metered and end != following(anchor, recurring, start):
            yield f"{line['id']}: {start} to {end} is not one interval from the anchor"
    if lines and not metered and sub["status"] in ("active", "past_due") and not sub["pause_collection"]:
        last = lines[-1]["period"]
        if (last["start"], last["end"]) != (item["current_period_start"], item["current_period_end"]):
            yield f"{item['id']}: its current period was not billed"


def _cost(books: Books, invoice: Object, line: Object) -> Iterator[str]:
    price = books.the("price", line["pricing"]["price_details"]["price"])
    details = line["parent"]["subscription_item_details"]
    sub = books.find("subscription", details["subscription"])
    start, end = line["period"]["start"], line["period"]["end"]
    tried = sub is not None and sub["trial_end"] is not None
    # Of an earlier trial of the same subscription only the description is left.
    free = tried and (
        sub["trial_start"] <= start < end <= sub["trial_end"] or str(line["description"]).startswith("Trial period")
    )
    quantity = Decimal(line["quantity_decimal"] or line["quantity"] or 0)
    if price["recurring"]["usage_type"] == "metered" and not free:
        used = [value for at, value in books.usage.get((price["recurring"]["meter"], invoice["customer"]), [])
                if start // 60 * 60 <= at < end // 60 * 60]  # fmt: skip
        formula = books.the("billing.meter", price["recurring"]["meter"])["default_aggregation"]["formula"]
        expected = (used[-1] if used else Decimal(0)) if formula == "last" else sum(used, Decimal(0))
        if quantity != expected:
            yield f"{line['id']}: {quantity} units billed, {expected} used"
    amount = 0 if free else cost(books, price, quantity, line["currency"])
    if line["amount"] != amount:
        yield f"{line['id']}: {line['amount']} for {quantity} × {price['id']} instead of {amount}"


def cost(books: Books, price: Object, quantity: Decimal, currency: str) -> int:
    """What a quantity costs, by unit, package or tiers."""
    terms = price | books.on_request.get(f"price {price['id']}", {})
    if currency != price["currency"]:
        terms |= terms["currency_options"][currency]
    if divide := price["transform_quantity"]:
        packages, rest = divmod(quantity, divide["divide_by"])
        quantity = packages + (1 if rest and divide["round"] == "up" else 0)
    if price["billing_scheme"] == "per_unit":
        exact = quantity * Decimal(terms["unit_amount_decimal"])
    elif price["tiers_mode"] == "volume":
        tier = next(tier for tier in terms["tiers"] if tier["up_to"] is None or quantity <= tier["up_to"])
        exact = _tier(tier, quantity)
    else:
        exact, reached = Decimal(0), Decimal(0)
        for tier in terms["tiers"]:
            top = quantity if tier["up_to"] is None else min(quantity, Decimal(tier["up_to"]))
            if top > reached or tier is terms["tiers"][0]:
                exact += _tier(tier, top - reached)
            reached = max(reached, top)
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def _tier(tier: Object, units: Decimal) -> Decimal:
    return units * Decimal(tier["unit_amount_decimal"] or 0) + Decimal(tier["flat_amount_decimal"] or 0)
