"""Which calls change something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dagster_project.simulator.calls import catalogue_changes, changes, webhook_endpoints
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.forms import Params

Run = Callable[[World, list[str], Params], dict[str, Any]]


@dataclass(frozen=True)
class Mutation:
    """`name` and `kind` are what a restricted key may lack; `run` gives the object to answer with."""

    method: str
    path: str
    name: str
    kind: str
    run: Run


MUTATIONS = tuple(
    Mutation(*row)
    for row in (
        ("POST", "/v1/customers", "customers", "customer", changes.create_customer),
        ("POST", "/v1/customers/{id}", "customers", "customer", changes.update_customer),
        ("DELETE", "/v1/customers/{id}", "customers", "customer", changes.delete_customer),
        ("POST", "/v1/refunds", "refunds", "refund", changes.create_refund),
        ("POST", "/v1/refunds/{id}", "refunds", "refund", changes.update_refund),
        ("POST", "/v1/subscriptions/{id}", "subscriptions", "subscription", changes.update_subscription),
        ("DELETE", "/v1/subscriptions/{id}", "subscriptions", "subscription", changes.cancel_subscription),
        ("POST", "/v1/invoices/{id}/pay", "invoices", "invoice", changes.pay_invoice),
        ("POST", "/v1/products", "products", "product", catalogue_changes.create_product),
        ("POST", "/v1/products/{id}", "products", "product", catalogue_changes.update_product),
        ("DELETE", "/v1/products/{id}", "products", "product", catalogue_changes.delete_product),
        ("POST", "/v1/prices", "prices", "price", catalogue_changes.create_price),
        ("POST", "/v1/prices/{id}", "prices", "price", catalogue_changes.update_price),
        ("POST", "/v1/coupons", "coupons", "coupon", catalogue_changes.create_coupon),
        ("DELETE", "/v1/coupons/{id}", "coupons", "coupon", catalogue_changes.delete_coupon),
        ("POST", "/v1/webhook_endpoints", "webhook_endpoints", "webhook_endpoint", webhook_endpoints.create),
        ("POST", "/v1/webhook_endpoints/{id}", "webhook_endpoints", "webhook_endpoint", webhook_endpoints.update),
        ("DELETE", "/v1/webhook_endpoints/{id}", "webhook_endpoints", "webhook_endpoint", webhook_endpoints.delete),
    )
)
