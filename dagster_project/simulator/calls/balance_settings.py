"""How an account is paid out: when, and what stays."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import payout_settings
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import invalid_parameter, required_parameter

Params = dict[str, Any]
_WITHIN = "payments[payouts]"
_DAYS = {"weekly": "weekly_payout_days", "monthly": "monthly_payout_days"}


def update(world: World, params: Params) -> Object:
    given = params.get("payments") or {}
    asked = given.get("payouts") or {}
    changes: Object = {}
    if "debit_negative_balances" in given:
        changes["debit_negative_balances"] = given["debit_negative_balances"]
    if "statement_descriptor" in asked:
        changes["statement_descriptor"] = asked["statement_descriptor"]
    if asked.get("schedule"):
        changes["schedule"] = _schedule(asked["schedule"])
    if "minimum_balance_by_currency" in asked:
        changes["minimum_balance"] = _minimum(payout_settings.settings(world), asked["minimum_balance_by_currency"])
    payout_settings.change_settings(world, changes)
    return payout_settings.balance_settings(world)


def _schedule(given: Object) -> Object:
    interval = given.get("interval")
    if interval is None:
        raise required_parameter(f"{_WITHIN}[schedule][interval]")
    schedule: Object = {"interval": interval}
    for kind, name in _DAYS.items():
        param = f"{_WITHIN}[schedule][{name}]"
        if given.get(name) and kind != interval:
            raise invalid_parameter(param, f"{name} can only be set when the interval is {kind}.")
        if kind == interval:
            if not given.get(name):
                raise required_parameter(param)
            schedule[name] = [_day(day, kind, f"{param}[{place}]") for place, day in enumerate(given[name])]
    return schedule


def _day(day: str, kind: str, param: str) -> int | str:
    if kind == "weekly":
        if day not in payout_settings.WEEKDAYS[:5]:
            raise invalid_parameter(param, f"Invalid {param}: must be one of {', '.join(payout_settings.WEEKDAYS[:5])}")
        return day
    number = forms.integer(day, param)
    if not 1 <= number <= 31:
        raise invalid_parameter(param, f"Invalid {param}: must be 1 to 31")
    return number


def _minimum(settings: Object, given: Any) -> dict[str, int]:
    """Currency by currency; an empty value removes it."""
    param = f"{_WITHIN}[minimum_balance_by_currency]"
    if given == "":
        return {}
    if not isinstance(given, dict):
        raise invalid_parameter(param, f"Invalid object: {param}")
    minimum: dict[str, int] = dict(settings["minimum_balance"])
    for currency, amount in given.items():
        if amount == "":
            minimum.pop(currency, None)
        elif (number := forms.integer(amount, f"{param}[{currency}]")) < 0:
            raise invalid_parameter(
                f"{param}[{currency}]", "This value must be greater than or equal to 0.", "parameter_invalid_integer"
            )
        else:
            minimum[currency] = number
    return minimum
