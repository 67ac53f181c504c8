"""Money that a platform sends to its connected accounts, and takes back."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import connect, settlement
from dagster_project.simulator.engine.ledger import available
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def create(world: World, params: Params) -> Object:
    destination, currency, charge = params["destination"]["id"], params["currency"], params.get("source_transaction")
    if destination not in world.meta.get("accounts", ()):
        raise missing("destination", destination, param="destination")
    if "transfers" not in params["destination"]["capabilities"]:
        raise ApiError(
            400,
            "Your destination account needs to have at least one of the following capabilities enabled: transfers, "
            "crypto_transfers, legacy_payments",
            code="insufficient_capabilities_for_transfer",
        )
    if charge is not None:
        amount = _of_charge(world, charge, params.get("amount"), currency)
    elif "amount" not in params:
        raise required_parameter("amount")
    else:
        amount = params["amount"]
        if params.get("source_type", "card") != "card" or amount > _available(world, currency):
            raise ApiError(
                400,
                "You have insufficient available funds in your Stripe account. Try adding funds directly to your "
                "available balance by creating Charges using the 4000000000000077 test card. See: "
                "https://stripe.com/docs/testing#available-balance",
                code="balance_insufficient",
            )
    group = params.get("transfer_group")
    if charge is not None:
        group = group or charge["transfer_group"] or f"group_{charge['id']}"
        world.change(charge, None, transfer_group=group)
    return connect.transfer(
        world, destination, amount, currency, charge=charge, group=group, description=params.get("description"),
        metadata=merged({}, params.get("metadata", {})),
    )  # fmt: skip


def _available(world: World, currency: str) -> int:
    return available(world, currency) if settlement.currency_of(world, currency) == currency else 0


def _of_charge(world: World, charge: Object, amount: int | None, currency: str) -> int:
    """What a transfer takes of a charge: in the currency it settled in, and together no more than it brought.

    Source: https://docs.stripe.com/connect/separate-charges-and-transfers#transfer-availability
    """
    if charge["status"] == "failed" or not charge["balance_transaction"]:
        raise invalid_parameter("source_transaction", f"The charge {charge['id']} has no funds to transfer.")
    row = world.the(charge["balance_transaction"], "balance_transaction")
    if row["currency"] != currency:
        raise invalid_parameter(
            "currency",
            f"The currency of source_transaction's balance transaction ({row['currency']}) must be the same as the "
            f"transfer currency ({currency})",
        )
    gone = sum(
        each["amount"] - each["amount_reversed"]
        for each in world.store.all("transfer")
        if each["source_transaction"] == charge["id"]
    )
    amount = row["amount"] - gone if amount is None else amount
    if not 0 < amount <= row["amount"] - gone:
        raise invalid_parameter(
            "amount",
            f"The total amount of transfers of source_transaction {charge['id']} must not exceed its amount "
            f"({row['amount']}); {row['amount'] - gone} are left.",
        )
    return amount


def update(world: World, params: Params, transfer: Object) -> Object:
    fields = {name: params[name] for name in ("description",) if name in params}
    metadata = merged(transfer["metadata"], params.get("metadata", {}))
    return world.change(transfer, "transfer.updated", **fields, metadata=metadata)


def reverse(world: World, params: Params, transfer: Object) -> Object:
    left = transfer["amount"] - transfer["amount_reversed"]
    if left <= 0:
        raise ApiError(400, f"Transfer {transfer['id']} has already been reversed.")
    amount = params.get("amount", left)
    try:
        made = connect.reverse(world, transfer, amount, metadata=merged({}, params.get("metadata", {})))
    except ValueError as error:
        raise invalid_parameter("amount", str(error)) from None
    if params.get("refund_application_fee"):
        connect.refund_fee_of(world, transfer, amount)
    return made


def update_reversal(world: World, params: Params, transfer: Object, reversal: Object) -> Object:
    """Stripe announces no event for it; the transfer that embeds it shows it."""
    if reversal["transfer"] != transfer["id"]:
        raise missing("transfer_reversal", reversal["id"])
    changed = world.change(reversal, None, metadata=merged(reversal["metadata"], params.get("metadata", {})))
    connect.embed(world, transfer, "reversals", changed)
    return changed
