"""Payment methods: cards."""

from __future__ import annotations

from dagster_project.simulator.engine.world import Object, World


def card(world: World, customer: Object) -> Object:
    """A card of the customer, attached."""
    dice = world.chance("card", customer["id"])
    brand = dice.choice(("visa", "visa", "mastercard", "amex"))
    address = customer["address"]
    method = world.add(
        "payment_method", "pm", type="card", customer=customer["id"],
        billing_details={"address": address, "email": customer["email"], "name": customer["name"],
        "phone": None, "tax_id": None}, metadata={}, allow_redisplay="unspecified",
        card={
            "brand": brand, "checks": {"address_line1_check": None, "address_postal_code_check": "pass",
            "cvc_check": "pass"}, "country": address["country"], "display_brand": brand,
            "exp_month": dice.randint(1, 12), "exp_year": 2029, "fingerprint": f"{dice.getrandbits(64):016x}",
            "funding": "credit", "generated_from": None, "last4": f"{dice.randint(0, 9999):04d}",
            "networks": {"available": [brand], "preferred": None}, "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True}, "wallet": None,
        },
    )  # fmt: skip
    world.emit("payment_method.attached", method)
    return method


def charged(card: Object, amount: int) -> Object:
    kept = (
        "brand",
        "checks",
        "country",
        "exp_month",
        "exp_year",
        "fingerprint",
        "funding",
        "last4",
        "regulated_status",
    )
    return {name: card[name] for name in kept} | {
        "amount_authorized": amount, "authorization_code": None, "electronic_commerce_indicator": None,
        "transaction_link_id": None, "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"}, "installments": None, "mandate": None,
        "multicapture": {"status": "unavailable"}, "network": card["brand"], "network_token": {"used": False},
        "network_transaction_id": None, "overcapture": {"maximum_amount_capturable": amount,
        "status": "unavailable"}, "three_d_secure": None, "wallet": None,
    }  # fmt: skip
