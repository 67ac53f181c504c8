"""Rare billing: coupons at all levels, pauses, changes in mid-period, invoices by hand, credit notes, test clocks."""

from __future__ import annotations

from random import Random

from dagster_project.simulator.chaos.deeds import currency_of, deed, one_of, post, price, subscription, then
from dagster_project.simulator.engine.business import DAY, HOUR
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.inside import request


@deed
def gets_coupons_everywhere(world: World, dice: Random, customer: str) -> None:
    sub = subscription(world, dice, customer)
    if sub is None:
        return
    first, second = dice.sample([row[0] for row in world.business.coupons if row[2] is None], 2)
    item = sub["items"]["data"][-1]
    post(
        world, f"/v1/subscriptions/{sub['id']}", discounts=[{"coupon": first}],
        items=[{"id": item["id"], "discounts": [{"coupon": second}]}],
    )  # fmt: skip
    if dice.random() < 0.3:
        then(world, dice.uniform(20, 60), f"/v1/subscriptions/{sub['id']}/discount", method="DELETE")


@deed
def pauses_collection(world: World, dice: Random, customer: str) -> None:
    if sub := subscription(world, dice, customer):
        behavior = dice.choice(("keep_as_draft", "mark_uncollectible", "void"))
        until = world.now + dice.randint(20, 50) * DAY
        path = f"/v1/subscriptions/{sub['id']}"
        post(world, path, pause_collection={"behavior": behavior, "resumes_at": until})


@deed
def pauses_and_resumes(world: World, dice: Random, customer: str) -> None:
    if sub := subscription(world, dice, customer):
        path = f"/v1/subscriptions/{sub['id']}"
        unused = dice.choice(("now", "none", "item_current_period_start"))
        post(
            world, f"{path}/pause", type="subscription",
            bill_for={"unused_time_from": {"type": unused}, "outstanding_usage_through": {"type": "now"}},
        )  # fmt: skip
        then(world, dice.uniform(5, 60), f"{path}/resume", billing_cycle_anchor={"type": "now"})


@deed
def changes_in_mid_period(world: World, dice: Random, customer: str) -> None:
    sub = subscription(world, dice, customer)
    if sub is None:
        return
    item = sub["items"]["data"][0]
    changes = {"id": item["id"], "quantity": dice.randint(0, 9)}
    if dice.random() < 0.6:
        changes["price"] = price(world, dice, sub["currency"], dice.choice(("month", "month", "year")))
    post(
        world, f"/v1/subscriptions/{sub['id']}", items=[changes],
        proration_behavior=dice.choice(("always_invoice", "create_prorations", "none")),
    )  # fmt: skip


@deed
def begins_a_new_cycle(world: World, dice: Random, customer: str) -> None:
    if sub := subscription(world, dice, customer):
        path = f"/v1/subscriptions/{sub['id']}"
        if dice.random() < 0.5 or sub["trial_end"] is not None:
            post(world, path, billing_cycle_anchor={"type": "now"}, proration_behavior="create_prorations")
        else:
            post(world, path, trial_end=world.now + dice.randint(3, 20) * DAY, proration_behavior="none")


@deed
def adds_and_drops_an_item(world: World, dice: Random, customer: str) -> None:
    if sub := subscription(world, dice, customer):
        path, interval = f"/v1/subscriptions/{sub['id']}", sub["items"]["data"][0]["price"]["recurring"]["interval"]
        fitting = {item["price"]["id"] for item in sub["items"]["data"]}
        added = price(world, dice, sub["currency"], interval)
        if added not in fitting:
            changed = post(world, path, items=[{"price": added, "quantity": dice.randint(1, 5)}])
            if changed and dice.random() < 0.5:
                newest = changed["items"]["data"][-1]["id"]
                then(world, dice.uniform(2, 40), path, items=[{"id": newest, "deleted": True}])


@deed
def leaves_at_once(world: World, dice: Random, customer: str) -> None:
    if sub := subscription(world, dice, customer):
        request(
            world, "DELETE", f"/v1/subscriptions/{sub['id']}", invoice_now=dice.random() < 0.5,
            prorate=dice.random() < 0.5,
        )  # fmt: skip


@deed
def is_deleted(world: World, dice: Random, customer: str) -> None:
    if dice.random() < 0.4:
        request(world, "DELETE", f"/v1/customers/{customer}")


@deed
def is_billed_by_hand(world: World, dice: Random, customer: str) -> None:
    """An invoice of one-time items, which is paid elsewhere, in parts, late, or never."""
    currency = currency_of(world, customer)
    for _ in range(dice.randint(1, 13)):
        post(
            world, "/v1/invoiceitems", customer=customer, amount=dice.randint(-2, 20) * 500, currency=currency,
            description="Work",
        )  # fmt: skip
    made = post(
        world, "/v1/invoices", customer=customer, collection_method="send_invoice", days_until_due=14,
        pending_invoice_items_behavior="include", discounts=[{"coupon": "FIRST50"}] if dice.random() < 0.3 else [],
    )  # fmt: skip
    if made is None or post(world, f"/v1/invoices/{made['id']}/finalize") is None:
        return
    path = f"/v1/invoices/{made['id']}"
    fate = dice.choice(("elsewhere", "parts", "void", "mark_uncollectible", "send", "pay"))
    if fate == "elsewhere":
        then(world, dice.uniform(1, 20), f"{path}/pay", paid_out_of_band=True)
    elif fate != "parts":
        then(world, dice.uniform(1, 20), f"{path}/{fate}")
    elif made["total"] > 3_000:
        for part in (made["total"] // 300 * 100, made["total"] // 2):
            payment = post(
                world, "/v1/payment_intents", amount=part, currency=currency, customer=customer, confirm=True,
                payment_method="pm_card_visa", automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
            )  # fmt: skip
            if payment:
                post(world, f"{path}/attach_payment", payment_intent=payment["id"])


@deed
def gets_credit(world: World, dice: Random, customer: str) -> None:
    post(world, f"/v1/customers/{customer}", balance=dice.randint(-30, 5) * 100)


@deed
def is_exempt_from_tax(world: World, dice: Random, customer: str) -> None:
    post(world, f"/v1/customers/{customer}", tax_exempt=dice.choice(("exempt", "reverse", "none")))
    post(world, f"/v1/customers/{customer}/tax_ids", type="eu_vat", value=f"DE{dice.randint(10**8, 10**9 - 1)}")


@deed
def leaves_behind_a_test_clock(world: World, dice: Random, customer: str) -> None:
    """A developer tries a subscription out on a clock of its own."""
    clock = post(world, "/v1/test_helpers/test_clocks", frozen_time=world.now, name="Renewal")
    if clock is None:
        return
    card = post(world, "/v1/payment_methods", type="card", card={"token": "tok_visa"})
    tester = post(world, "/v1/customers", name="Test", test_clock=clock["id"], payment_method=card and card["id"])
    if tester is None or card is None:
        return
    post(
        world, "/v1/subscriptions", customer=tester["id"], default_payment_method=card["id"],
        items=[{"price": price(world, dice, "usd"), "quantity": 2}],
    )  # fmt: skip
    path = f"/v1/test_helpers/test_clocks/{clock['id']}"
    post(world, f"{path}/advance", frozen_time=world.now + 33 * DAY)
    post(world, f"{path}/advance", frozen_time=world.now + 33 * DAY + 2 * HOUR)
    if dice.random() < 0.5:
        then(world, dice.uniform(1, 20), path, method="DELETE")


@deed
def is_credited(world: World, dice: Random, customer: str) -> None:
    """A credit note on an invoice that is paid, or still open."""
    invoice = one_of(world, dice, "invoice", status="open") if dice.random() < 0.5 else None
    invoice = invoice or one_of(world, dice, "invoice", customer=customer, status=["paid", "open"])
    if invoice is None:
        return
    amount = max(1, invoice["amount_paid" if invoice["status"] == "paid" else "amount_remaining"] // dice.randint(2, 5))
    how = {}
    if invoice["status"] == "paid":
        how = {dice.choice(("credit_amount", "refund_amount", "out_of_band_amount")): amount}
    post(
        world, "/v1/credit_notes", invoice=invoice["id"], amount=amount, reason=dice.choice(("duplicate",
        "order_change", "product_unsatisfactory")), **how,
    )  # fmt: skip


@deed
def follows_a_schedule(world: World, dice: Random, customer: str) -> None:
    """Phases with other prices, quantities and coupons; some end, some are released or canceled on the way."""
    currency = currency_of(world, customer)
    phases = [
        {
            "items": [{"price": price(world, dice, currency), "quantity": dice.randint(1, 5)}],
            "duration": {"interval": "month", "interval_count": dice.randint(1, 3)},
            **({"discounts": [{"coupon": "WELCOME20"}]} if dice.random() < 0.4 else {}),
        }
        for _ in range(dice.randint(2, 3))
    ]
    made = post(
        world, "/v1/subscription_schedules", customer=customer, start_date="now", phases=phases,
        end_behavior=dice.choice(("release", "cancel")),
    )  # fmt: skip
    if made and dice.random() < 0.3:
        then(
            world, dice.uniform(5, 50), f"/v1/subscription_schedules/{made['id']}/{dice.choice(('release', 'cancel'))}"
        )
