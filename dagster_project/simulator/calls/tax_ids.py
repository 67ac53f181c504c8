"""Tax ids of customers and of the account itself."""

from __future__ import annotations

import re
from typing import Any

from dagster_project.simulator.engine import customers
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import invalid_parameter, missing, required_parameter

Params = dict[str, Any]
_TYPE = re.compile(r"[a-z]{2}_[a-z]{2,6}|eu_oss_vat|ca_gst_hst|ca_pst_(bc|mb|sk)", re.ASCII)


def create(world: World, params: Params) -> Object:
    owner = params.get("owner") or {"type": "self"}
    if owner["type"] == "customer" and owner.get("customer") is None:
        raise required_parameter("owner[customer]")
    customer = owner.get("customer") if owner["type"] == "customer" else None
    with world.on(world.clock_of(customer)):
        return customers.add_tax_id(world, customer, checked_type(params["type"], "type"), params["value"])


def delete(world: World, params: Params, tax_id: Object) -> Object:
    return customers.delete_tax_id(world, tax_id)


def create_of_customer(world: World, params: Params, customer: Object) -> Object:
    return customers.add_tax_id(world, customer, checked_type(params["type"], "type"), params["value"])


def delete_of_customer(world: World, params: Params, customer: Object, tax_id: Object) -> Object:
    if tax_id["customer"] != customer["id"]:
        raise missing("tax_id", tax_id["id"])
    return customers.delete_tax_id(world, tax_id)


def checked_type(type: str, param: str) -> str:
    """Raises ApiError 400 for what cannot be a type of tax id."""
    if not _TYPE.fullmatch(type):
        raise invalid_parameter(param, f"Invalid {param}: unknown type of tax id: {type}", "tax_id_invalid")
    return type
