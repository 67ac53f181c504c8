"""Usage: events that are reported to a meter, added up per period and customer.

Rules: https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api (an identifier counts once; events
of up to 35 days ago and 5 minutes ahead are taken), https://docs.stripe.com/api/billing/meter/object (sum, count,
last). The store keeps one value per second, meter and customer: small enough to add up, exact enough to cut anywhere.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import ids
from dagster_project.simulator.engine.world import Object, World, action

REPORTED_EVERY = 7 * b.DAY


def used(world: World, meter: str, customer: str, start: int, end: int) -> Decimal:
    """The aggregated usage with start <= time < end (Unix seconds)."""
    values = [Decimal(value) for _, value in _kept(world, meter, customer, start, end)]
    if world.the(meter, "billing.meter")["default_aggregation"]["formula"] == "last":
        return values[-1] if values else Decimal(0)
    return sum(values, Decimal(0))


def _kept(world: World, meter: str, customer: str, start: int, end: int) -> list[tuple[int, str]]:
    """(time, decimal text) with start <= time < end, oldest first."""
    return world.store.execute(
        "select at, value from usage where account = ? and meter = ? and customer = ? and at >= ? and at < ?"
        " order by at",
        (world.store.account, meter, customer, start, end),
    ).fetchall()


def _keep(world: World, meter: str, customer: str, at: int, value: str) -> None:
    row = (world.store.account, meter, customer, at, value)
    world.store.execute("insert or replace into usage values (?, ?, ?, ?, ?)", row)


def plain(number: Decimal | int) -> str:
    """Decimal text without an exponent or trailing zeros."""
    text = format(Decimal(number), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def report(world: World, meter: Object, customer: str, at: int, value: Decimal, times: int = 1) -> None:
    """Take one event into account; `times=-1` takes it back."""
    formula = meter["default_aggregation"]["formula"]
    known = _kept(world, meter["id"], customer, at, at + 1)
    before = Decimal(known[0][1]) if known else Decimal(0)
    total = value if formula == "last" else before + times * value
    _keep(world, meter["id"], customer, at, plain(total))


def summaries(
    world: World, meter: Object, customer: str, start: int, end: int, window: str | None
) -> list[Object]:  # fmt: skip
    """Usage between whole minutes, newest first: one summary, or one per UTC hour or day that has usage."""
    step = {"hour": b.HOUR, "day": b.DAY}.get(window or "", 0)
    if not step:
        return [_summary(world, meter, customer, start, end)]
    hit = sorted({at // step * step for at, _ in _kept(world, meter["id"], customer, start, end)}, reverse=True)
    return [_summary(world, meter, customer, at, at + step) for at in hit]


def _summary(world: World, meter: Object, customer: str, start: int, end: int) -> Object:
    value = used(world, meter["id"], customer, start, end)
    number = ids.chance(world.seed, "usage", meter["id"], customer, start, end).getrandbits(96)
    return {
        "id": f"mtrusg_{number:024x}", "object": "billing.meter_event_summary",
        "aggregated_value": int(value) if value == value.to_integral_value() else float(value), "start_time": start,
        "end_time": end, "livemode": meter["livemode"], "meter": meter["id"],
    }  # fmt: skip


# ---- what callers report --------------------------------------------------------------------------------------
def take_event(world: World, meter: Object, customer: str, identifier: str, at: int, payload: Object) -> Object:
    """Record an event. Raises ValueError when the identifier was used before or the value is no number."""
    if world.store.get(identifier, "billing.meter_event"):
        raise ValueError(f"An event already exists with identifier {identifier}.")
    event: Object = {
        "id": identifier, "object": "billing.meter_event", "created": world.now, "event_name": meter["event_name"],
        "identifier": identifier, "livemode": meter["livemode"], "payload": payload, "timestamp": at,
    }  # fmt: skip
    report(world, meter, customer, at, value_of(meter, payload))
    world.store.insert(event, customer=customer)
    return {name: value for name, value in event.items() if name != "id"}


def take_back(world: World, meter: Object, event: Object, customer: str) -> None:
    """Cancel an event: what it added is taken away; where the last value counts, the one before it comes back."""
    world.store.delete(event["id"], None, kind="billing.meter_event")
    if meter["default_aggregation"]["formula"] == "last":
        bodies, _ = world.store.page("billing.meter_event", where={"customer": customer}, limit=1_000_000)
        others = [msgspec.json.decode(body) for body in bodies]
        same = [each for each in others if each["timestamp"] == event["timestamp"]]
        same = [each for each in same if each["event_name"] == meter["event_name"]]
        earlier = _kept(world, meter["id"], customer, 0, event["timestamp"])
        value = value_of(meter, same[0]["payload"]) if same else Decimal(earlier[-1][1] if earlier else 0)
        report(world, meter, customer, event["timestamp"], value)
    else:
        report(world, meter, customer, event["timestamp"], value_of(meter, event["payload"]), -1)


def value_of(meter: Object, payload: Object) -> Decimal:
    """The value in an event's payload. Raises ValueError when it is no number."""
    if meter["default_aggregation"]["formula"] == "count":
        return Decimal(1)
    key = meter["value_settings"]["event_payload_key"]
    try:
        value = Decimal(payload[key])
    except (KeyError, ArithmeticError):
        raise ValueError(f"The payload key `{key}` must hold a number.") from None
    if not value.is_finite() or abs(value) >= 10**15:
        raise ValueError(f"The payload key `{key}` must hold a number.")
    return value


# ---- what the seeded customers use ----------------------------------------------------------------------------
def uses(world: World, sub: Object) -> None:
    """From now on the customer uses every day what this subscription meters."""
    meters = [item["price"]["recurring"]["meter"] for item in sub["items"]["data"]]
    days = world.meta.setdefault("used", {})
    for meter in filter(None, meters):
        days.setdefault(f"{meter} {sub['customer']}", world.now // b.DAY + 1)
    if any(meters):
        world.later(world.now + REPORTED_EVERY, usage_is_reported, sub["id"])


@action
def usage_is_reported(world: World, id: str) -> None:
    """A week of usage arrives at the meter."""
    sub = world.the(id, "subscription")
    if sub["status"] in ("canceled", "incomplete_expired"):
        return
    for meter in filter(None, (item["price"]["recurring"]["meter"] for item in sub["items"]["data"])):
        report_until(world, meter, sub["customer"], world.now)
    world.later(world.now + REPORTED_EVERY, usage_is_reported, id)


def report_until(world: World, meter: str, customer: str, end: int) -> None:
    """Report the daily usage of a seeded customer whose noon lies before `end` and that was not reported yet."""
    days = world.meta.get("used", {})
    day = days.get(f"{meter} {customer}")
    if day is None:
        return
    low, high = world.business.usage_per_day
    while day * b.DAY + b.DAY // 2 < end // 60 * 60:
        value = world.chance("usage", meter, customer, day).randint(low, high)
        _keep(world, meter, customer, day * b.DAY + b.DAY // 2, str(value))
        day += 1
    days[f"{meter} {customer}"] = day
