"""Meters, and the usage that callers report to them."""

from __future__ import annotations

from typing import Any

import msgspec

from dagster_project.simulator.engine import meters
from dagster_project.simulator.engine.business import DAY
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, required_parameter

Params = dict[str, Any]
_OLDEST, _NEWEST = 35 * DAY, 300  # seconds before and after now
_LONGEST = 100  # characters of an identifier


def create(world: World, params: Params) -> Object:
    if any(each["event_name"] == params["event_name"] for each in _active(world)):
        raise ApiError(
            400, f"There is already an active meter with event name {params['event_name']}.",
            code="billing_meter_event_name_taken", param="event_name",
        )  # fmt: skip
    made = world.add(
        "billing.meter", "mtr", display_name=params["display_name"], event_name=params["event_name"], status="active",
        updated=world.now, default_aggregation=params["default_aggregation"],
        customer_mapping=params.get("customer_mapping")
        or {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        value_settings=params.get("value_settings") or {"event_payload_key": "value"},
        event_time_window=params.get("event_time_window"),
    )  # fmt: skip
    world.emit("billing.meter.created", made)
    return made


def update(world: World, params: Params, meter: Object) -> Object:
    return world.change(meter, "billing.meter.updated", updated=world.now, **params)


def deactivate(world: World, params: Params, meter: Object) -> Object:
    """No event is taken any more; what was reported stays."""
    if meter["status"] != "active":
        raise ApiError(400, "This meter is already inactive.")
    times = {"deactivated_at": world.now}
    return world.change(
        meter, "billing.meter.deactivated", status="inactive", updated=world.now, status_transitions=times
    )


def reactivate(world: World, params: Params, meter: Object) -> Object:
    if meter["status"] == "active":
        raise ApiError(400, "This meter is already active.")
    if any(each["event_name"] == meter["event_name"] for each in _active(world)):
        raise ApiError(400, f"There is already an active meter with event name {meter['event_name']}.")
    times = {"deactivated_at": None}
    return world.change(
        meter, "billing.meter.reactivated", status="active", updated=world.now, status_transitions=times
    )


def take_event(world: World, params: Params) -> Object:
    """Usage of one customer. An identifier counts once; events are of the last 35 days, or 5 minutes ahead."""
    meter, payload = _meter(world, params["event_name"]), params["payload"]
    key = meter["customer_mapping"]["event_payload_key"]
    if not payload.get(key):
        raise required_parameter(f"payload[{key}]")
    customer = world.store.get(payload[key], "customer")
    if customer is None or customer.get("deleted"):
        raise missing("customer", payload[key], param=f"payload[{key}]")
    chance = world.chance("identifier", world.number("identifier"))
    identifier = params.get("identifier") or f"{chance.getrandbits(128):032x}"
    if len(identifier) > _LONGEST:
        raise invalid_parameter("identifier", f"Invalid string: identifier has at most {_LONGEST} characters.")
    with world.on(world.clock_of(customer)):
        at = params.get("timestamp", world.now)
        if at < world.now - _OLDEST:
            raise invalid_parameter("timestamp", "The timestamp must be within the past 35 calendar days.")
        if at > world.now + _NEWEST:
            raise invalid_parameter("timestamp", "The timestamp must not be more than 5 minutes in the future.")
        try:
            return meters.take_event(world, meter, customer["id"], identifier, at, payload)
        except ValueError as error:
            raise ApiError(400, str(error), param="payload" if "payload" in str(error) else "identifier") from None


def adjust(world: World, params: Params) -> Object:
    """Cancel one event of the last day."""
    meter = _meter(world, params["event_name"])
    identifier = (params.get("cancel") or {}).get("identifier")
    if not identifier:
        raise required_parameter("cancel[identifier]")
    event = world.store.get(identifier, "billing.meter_event")
    if event is None or event["event_name"] != meter["event_name"]:
        raise missing("billing.meter_event", identifier, param="cancel[identifier]")
    customer = event["payload"][meter["customer_mapping"]["event_payload_key"]]
    with world.on(world.clock_of(world.store.get(customer, "customer"))):
        if event["created"] < world.now - DAY:
            raise invalid_parameter("cancel[identifier]", "Only events of the last 24 hours can be canceled.")
        meters.take_back(world, meter, event, customer)
    return {
        "object": "billing.meter_event_adjustment", "cancel": {"identifier": identifier},
        "event_name": meter["event_name"], "livemode": meter["livemode"], "status": "pending", "type": "cancel",
    }  # fmt: skip


def _active(world: World) -> list[Object]:
    bodies, _ = world.store.page("billing.meter", where={"status": "active"}, limit=10_000)
    return [msgspec.json.decode(body) for body in bodies]


def _meter(world: World, event_name: str) -> Object:
    found = next((meter for meter in _active(world) if meter["event_name"] == event_name), None)
    if found is None:
        raise ApiError(400, f"No active meter found for event name {event_name}.", code="no_meter", param="event_name")
    return found
