"""When and how an account is paid out: its schedule, the least that stays, and what a negative balance leads to."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

from dagster_project.simulator.engine.world import Object, World

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Where Stripe may take a negative balance from the bank account.
DEBITED = frozenset(
    ("AT", "AU", "BE", "CA", "DE", "ES", "FI", "FR", "GB", "IE", "IT", "LU", "NL", "NZ", "PT", "US")
)  # https://support.stripe.com/questions/auto-debit-faq


def settings(world: World) -> Object:
    """How the account is paid out; one that has said nothing is paid daily."""
    account = world.platform.store.get(world.id_of_account, "account") or {}
    found: Object = (account.get("settings") or {}).get("payouts") or {}
    default = {"debit_negative_balances": False, "schedule": {"interval": "daily"}, "statement_descriptor": None}
    return {**default, "minimum_balance": {}, **found, **world.meta.get("payout_settings", {})}


def change_settings(world: World, changes: Object) -> None:
    """What an account object shows of them is kept in it, the rest beside."""
    account = world.platform.store.get(world.id_of_account, "account") or {}
    beside = world.meta.setdefault("payout_settings", {})
    if account.get("settings"):
        shown = {**account["settings"]["payouts"]}
        for name in [name for name in changes if name in shown]:
            shown[name] = changes.pop(name)
        shown["schedule"] = {"delay_days": 2, **shown["schedule"]}
        world.platform.change(account, None, settings={**account["settings"], "payouts": shown})
    beside.update(changes)


def balance_settings(world: World) -> Object:
    """What `/v1/balance_settings` answers."""
    found = settings(world)
    schedule = {name: value for name, value in found["schedule"].items() if name != "delay_days"}
    for name, days in (("weekly_anchor", "weekly_payout_days"), ("monthly_anchor", "monthly_payout_days")):
        if name in schedule:
            schedule.setdefault(days, [schedule.pop(name)])
    return {
        "object": "balance_settings",
        "payments": {
            "debit_negative_balances": found["debit_negative_balances"],
            "payouts": {
                "minimum_balance_by_currency": found["minimum_balance"] or None, "schedule": schedule,
                "statement_descriptor": found["statement_descriptor"], "status": "enabled",
            },
            "settlement_timing": {"delay_days": found["schedule"].get("delay_days", 2)},
        },
    }  # fmt: skip


def is_due(schedule: Object, now: int, weekday: int) -> bool:
    """Source: https://docs.stripe.com/connect/manage-payout-schedule"""
    interval = schedule["interval"]
    if interval == "weekly":
        days = schedule.get("weekly_payout_days") or [schedule.get("weekly_anchor", "monday")]
        return WEEKDAYS[weekday] in days
    if interval == "monthly":
        today = datetime.fromtimestamp(now, UTC)
        last = monthrange(today.year, today.month)[1]
        days = schedule.get("monthly_payout_days") or [schedule.get("monthly_anchor", 1)]
        # What would fall on a weekend or behind the end of the month happens on the nearest working day.
        reached = {min(day, last) for day in days}
        return today.day in reached or (weekday == 0 and bool({today.day - 1, today.day - 2} & reached))
    return bool(interval == "daily")
