"""The list of a meter's usage: it is worked out when it is asked for.

Rule: https://docs.stripe.com/api/billing/meter-event-summary/list (times are whole minutes, with a grouping window
whole hours or UTC days).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dagster_project.simulator.engine import meters
from dagster_project.simulator.http import forms, lists
from dagster_project.simulator.http.api_errors import invalid_parameter, missing, required_parameter, unknown_parameter

if TYPE_CHECKING:
    from dagster_project.simulator.http.routes import Account, Call

_STEPS = {"hour": 3_600, "day": 86_400}
_TAKES = ("customer", "start_time", "end_time", "value_grouping_window", "limit", "starting_after", "ending_before",
          "expand")  # fmt: skip


def summaries(account: Account, call: Call) -> bytes:
    """A page of the usage of one customer. Raises ApiError 404 for an unknown meter, 400 for times that do not fit."""
    for name in call.params:
        if name not in _TAKES:
            raise unknown_parameter(name)
    for name in _TAKES[:3]:
        if not call.params.get(name):
            raise required_parameter(name)
    meter = account.store.get(call.ids[0], "billing.meter")
    if meter is None:
        raise missing("billing.meter", call.ids[0])
    customer = forms.text(call.params, "customer") or ""
    if account.store.get(customer, "customer") is None:
        raise missing("customer", customer, param="customer")
    window = forms.text(call.params, "value_grouping_window")
    if window is not None and window not in _STEPS:
        raise invalid_parameter("value_grouping_window", "Invalid value_grouping_window: must be one of day, hour")
    step, unit = _STEPS.get(window or "", 60), window or "minute"
    start, end = (forms.integer(call.params[name], name) for name in ("start_time", "end_time"))
    for name, moment in (("start_time", start), ("end_time", end)):
        if moment % step or moment < 0:
            raise invalid_parameter(name, f"{name} must be aligned with {unit} boundaries.")
    if end <= start:
        raise invalid_parameter("end_time", "end_time must be after start_time.")
    found = meters.summaries(account.world, meter, customer, start, end, window)
    try:
        rows, more = lists.cut([msgspec.json.encode(row) for row in found], lists.window(call.params))
    except KeyError as error:
        raise missing("billing.meter_event_summary", str(error.args[0]), param="starting_after") from None
    return lists.envelope(call.path, rows, more)
