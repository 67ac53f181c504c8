"""What each path of the API does: every list, every single object and the calls that change something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from dagster_project.simulator.engine.payout_settings import balance_settings
from dagster_project.simulator.engine.payouts import balance_object
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http import expand, filters, lists, mutations, search, usage
from dagster_project.simulator.http.api_errors import missing, no_access, unknown_parameter
from dagster_project.simulator.http.endpoints import Listing, Router, listings
from dagster_project.simulator.http.forms import Params
from dagster_project.simulator.http.visibility import Visibility

Object = dict[str, Any]
# Which field of a nested object names the one in the path before it.
_OWNERS = {"account": "account", "application_fee": "fee", "customer": "customer", "transfer": "transfer"}
_encode = msgspec.json.Encoder().encode


@dataclass
class Account:
    """What a call works on. `failed_events` are the events that no endpoint took.

    `reading` and `searching` are what lists and retrieves, and what search, do not show yet.
    """

    store: Store
    world: World
    failed_events: set[str] = field(default_factory=set)
    reading: Visibility = field(default_factory=Visibility)
    searching: Visibility = field(default_factory=Visibility)

    @property
    def id(self) -> str:
        return str(self.store.meta.get("account", "acct_simulator"))

    def connected(self, id: str) -> Account:
        """That of this id: itself, or one connected to it. Raises KeyError for any other."""
        if id == self.id:
            return self
        world = self.world.within(id)
        return replace(self, store=world.store, world=world)


@dataclass(frozen=True)
class Call:
    """One request: `path` as sent, `ids` the ids in it."""

    method: str
    path: str
    ids: list[str]
    params: Params


@dataclass(frozen=True)
class Endpoint:
    """`name` and `kind` are what a restricted key may lack; `run` gives the body of a 200."""

    name: str
    kind: str
    run: Callable[[Account, Call], bytes]


def router() -> Router[Endpoint]:
    """Every path that is answered."""
    made: Router[Endpoint] = Router()
    for listing in listings().values():
        made.add("GET", listing.path, Endpoint(listing.name, listing.kind, _list_of(listing)))
        if listing.retrieve:
            made.add("GET", f"{listing.path}/{{id}}", Endpoint(listing.name, listing.kind, _one_of(listing)))
    for name in search.searchable():
        made.add("GET", f"/v1/{name}/search", Endpoint(name, listings()[name].kind, _search_of(name)))
    made.add("GET", "/v1/account", Endpoint("accounts", "account", _own_account))
    made.add("GET", "/v1/balance", Endpoint("balance", "balance", _balance))
    made.add("GET", "/v1/balance_settings", Endpoint("balance_settings", "balance_settings", _balance_settings))
    for mutation in mutations.mutations():
        made.add(mutation.method, mutation.path, Endpoint(mutation.name, mutation.kind, _change(mutation)))
    return made


def _list_of(listing: Listing) -> Callable[[Account, Call], bytes]:
    if listing.kind == "billing.meter_event_summary":
        return usage.summaries

    def run(account: Account, call: Call) -> bytes:
        parent = call.ids[0] if call.ids else None
        query = filters.query(account.store, listing, call.params, parent, account.failed_events)
        query.hidden = frozenset().union(*(account.reading.hidden(account.id, kind) for kind in listing.kinds))
        if listing.name == "accounts":
            query.hidden |= {account.id}
        asked = expand.paths(call.params, of_list=True)
        if listing.kind == "event" and any(parts[0] == "data" for parts in asked):
            raise expand.not_expandable("data.data")
        rows, more = lists.page(account.store, query, lists.window(call.params), listing.kind)
        return lists.envelope(
            lists.url_of(listing, call.path, call.params), expand.rows(account.store, rows, asked), more
        )

    return run


def _one_of(listing: Listing) -> Callable[[Account, Call], bytes]:
    def run(account: Account, call: Call) -> bytes:
        id = call.ids[-1]
        found = next(filter(None, (account.store.get(id, kind) for kind in listing.kinds)), None)
        if found is not None and id in account.reading.hidden(account.id, found["object"]):
            raise missing(listing.kind, id)
        if listing.kind == "account":
            found = account.world.platform.store.get(id, "account")
            if (
                found is None
                or found.get("deleted")
                or (account.world is not account.world.platform and id != account.id)
            ):
                raise no_access(id)
        if found is None or (found.get("deleted") and listing.kind != "customer"):
            raise missing(listing.kind, id)
        if listing.parent in _OWNERS and found.get(_OWNERS[listing.parent]) != call.ids[0]:
            raise missing(listing.kind, id)
        return _shown(account, found, call.params)

    return run


def _search_of(name: str) -> Callable[[Account, Call], bytes]:
    def run(account: Account, call: Call) -> bytes:
        hidden = account.searching.hidden(account.id, listings()[name].kind)
        return _encode(search.found(account.store, name, call.params, hidden))

    return run


def _shown(account: Account, obj: Object, params: Params) -> bytes:
    for name in params:
        if name != "expand":
            raise unknown_parameter(name)
    asked = expand.paths(params, of_list=False)
    if obj["object"] == "event" and any(parts[0] == "data" for parts in asked):
        raise expand.not_expandable("data")
    return _encode(expand.expanded(account.store, obj, asked))


def _own_account(account: Account, call: Call) -> bytes:
    found = account.world.platform.store.get(account.id, "account")
    if found is None:
        raise missing("account", account.id)
    return _shown(account, found, call.params)


def _balance(account: Account, call: Call) -> bytes:
    return _shown(account, balance_object(account.world), call.params)


def _balance_settings(account: Account, call: Call) -> bytes:
    return _shown(account, balance_settings(account.world), call.params)


def _change(mutation: mutations.Mutation) -> Callable[[Account, Call], bytes]:
    def run(account: Account, call: Call) -> bytes:
        params = dict(call.params)
        asked = expand.paths({"expand": params.pop("expand")} if "expand" in params else {}, of_list=False)
        made = mutation.run(account.world, call.ids, params)
        return _encode(expand.expanded(account.store, made, asked))

    return run
