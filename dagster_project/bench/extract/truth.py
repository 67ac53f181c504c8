"""What the simulator has, read by the shortest way: each list from its newest object on, page after page.

It shares nothing with what is measured but the catalogue's rows: no window, no pace, no retry.
"""

from __future__ import annotations

import hashlib
import http.client
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from dagster_project.bench.extract.local import PAGE, LocalStripe, get
from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.warehouse.connection import Warehouse

_SHOWN = 5  # differences that are named
# The same discount looks different where it is shown, on its customer, its subscription or an invoice; and when it has
# ended only invoices name it any more, which the warehouse then shows as deleted.
_BY_ID_ONLY = ("discounts",)


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool = False


_page = msgspec.json.Decoder(_Page)


@dataclass
class Truth:
    """`objects`: name -> id -> fingerprint; `plan`: endpoint -> requests of the cheapest way to read all of it.

    `hidden` objects exist, and no list shows them: a warehouse may have them.
    """

    objects: dict[str, dict[str, bytes]] = field(default_factory=dict)
    hidden: dict[str, dict[str, bytes]] = field(default_factory=dict)
    plan: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return sum(map(len, self.objects.values()))


def fingerprint(line: bytes) -> bytes:
    """Of the content, whatever the order of keys and the spacing."""
    return hashlib.blake2b(msgspec.json.encode(msgspec.json.decode(line), order="sorted"), digest_size=12).digest()


def truth_of(stripe: LocalStripe, *, only: str | None = None) -> Truth:
    """Everything, or one object. The simulator should be calm."""
    truth = Truth()
    rows = [row for row in CATALOGUE.values() if row.path and row.strategy in ("window", "chain")]
    if only:
        rows = [row for row in rows if row.name == only]
    with ThreadPoolExecutor(2) as pool:  # the simulator has one thread; a second client keeps it busy
        for found in pool.map(lambda row: _listed(stripe, row), rows):
            _add(truth, found)
    for row in rows:
        truth.hidden[row.name] = _hidden(stripe, row, truth.objects[row.name])
    if not only:
        truth.plan.update({"GET /v1/account": 1, "GET /v1/balance": 1})
        with closing(http.client.HTTPConnection("127.0.0.1", stripe.port, timeout=60)) as connection:
            own = get(connection, "/v1/account")
            truth.objects["accounts"][msgspec.json.decode(own)["id"]] = fingerprint(own)
            _embedded(truth, connection, CATALOGUE["accounts"], msgspec.json.decode(own))
        _add(truth, _of_parents(stripe))
        truth.plan["GET /v1/balance_transactions"] += _payout_pages(stripe)
    return truth


def _add(truth: Truth, found: Truth) -> None:
    truth.plan.update(found.plan)
    for name, objects in found.objects.items():
        truth.objects.setdefault(name, {}).update(objects)


def _listed(stripe: LocalStripe, row: StripeObject) -> Truth:
    found = Truth()
    own = found.objects.setdefault(row.name, {})
    with closing(http.client.HTTPConnection("127.0.0.1", stripe.port, timeout=60)) as connection:
        for params in row.lists:
            asked = 0
            for line in _walk(connection, str(row.path), {**params, "expand[]": [f"data.{one}" for one in row.expand]}):
                body = msgspec.json.decode(line)
                own[body["id"]] = fingerprint(line)
                _embedded(found, connection, row, body)
                asked += 1
            found.plan[f"GET {row.path}"] += pages(asked)
    return found


def _hidden(stripe: LocalStripe, row: StripeObject, shown: Collection[str]) -> dict[str, bytes]:
    """Objects that can be read by their id and that the list does not show, e.g. closed reviews."""
    others = {kind for other in CATALOGUE.values() if other.name != row.name for kind in other.kinds}
    found = {}
    if row.retrieve and not set(row.kinds) & others:
        expand = urlencode({"expand[]": row.expand}, doseq=True)
        with stripe.truth() as con, closing(http.client.HTTPConnection("127.0.0.1", stripe.port, timeout=60)) as client:
            for (one,) in con.execute("select id from object where kind = ? and gone = 0", [row.kind]).fetchall():
                if one not in shown:
                    found[one] = fingerprint(get(client, f"{row.path}/{one}?{expand}"))
    return found


def pages(rows: int) -> int:
    """Requests that a list of so many rows takes: an empty one, too, must be asked for."""
    return max(1, math.ceil(rows / PAGE))


def _walk(connection: http.client.HTTPConnection, path: str, params: Mapping[str, Any]) -> Iterator[bytes]:
    after: dict[str, str] = {}
    while True:
        page = _page.decode(get(connection, f"{path}?{urlencode({**params, **after, 'limit': PAGE}, doseq=True)}"))
        yield from map(bytes, page.data)
        if not page.has_more:
            return
        after = {"starting_after": msgspec.json.decode(page.data[-1])["id"]}


def _embedded(truth: Truth, connection: http.client.HTTPConnection, row: StripeObject, body: dict[str, Any]) -> None:
    """Children that come inside `body`; a list of them that goes on is read to its end, which costs requests."""
    for child in CATALOGUE.values():
        place = (child.embedded_in or {}).get(row.name)
        value = body.get(place) if place else None
        if isinstance(value, dict) and value.get("object") == "list":
            if value["has_more"]:
                shown = len(value["data"])
                path, _, query = value["url"].partition("?")
                params = dict(part.split("=", 1) for part in query.split("&") if part)
                value = [msgspec.json.decode(line) for line in _walk(connection, path, params)]
                truth.plan[f"GET {path.replace(body['id'], '{id}')}"] += pages(len(value) - shown)
            else:
                value = value["data"]
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and one.get("id"):
                encoded = msgspec.json.encode(one)
                truth.objects.setdefault(child.name, {})[one["id"]] = fingerprint(encoded)
                _embedded(truth, connection, child, one)


def _of_parents(stripe: LocalStripe) -> Truth:
    """Lists that exist per parent, of the parents that have any; not those whose rows another list shows as well."""
    found = Truth()
    listed = {kind for row in CATALOGUE.values() if row.strategy in ("window", "chain") for kind in row.kinds}
    with stripe.truth() as con, closing(http.client.HTTPConnection("127.0.0.1", stripe.port, timeout=60)) as connection:
        for row in CATALOGUE.values():
            if row.strategy != "per_parent" or set(row.kinds) & listed:
                continue
            owner = f"json_extract(body, '$.{row.parent_param}')" if row.parent_param else "parent"
            rows = con.execute(
                f"select distinct {owner} from object where kind = ? and gone = 0 and {owner} is not null", [row.kind]
            )
            for (parent,) in rows.fetchall():
                path = str(row.path).replace("{parent}", parent)
                lines = list(_walk(connection, path, {row.parent_param: parent} if row.parent_param else {}))
                found.plan[f"GET {str(row.path).replace('{parent}', '{id}')}"] += pages(len(lines))
                for line in lines:
                    found.objects.setdefault(row.name, {})[msgspec.json.decode(line)["id"]] = fingerprint(line)
    return found


def _payout_pages(stripe: LocalStripe) -> int:
    """Requests for what each finished automatic payout settled: https://docs.stripe.com/payouts/reconciliation."""
    with stripe.truth() as con:
        rows = con.execute(
            """
            select count(b.id) from object as p
            left join object as b on b.kind = 'balance_transaction' and b.payout = p.id and b.gone = 0
            where p.kind = 'payout' and p.gone = 0 and json_extract(p.body, '$.automatic')
                and json_extract(p.body, '$.reconciliation_status') = 'completed'
            group by p.id
            """
        ).fetchall()
    return sum(pages(number) for (number,) in rows)


def differences(truth: Truth, data_dir: Path) -> list[str]:
    """How the warehouse differs from the truth, object by object, by id and content: a sentence each."""
    found = []
    with Warehouse(data_dir).connect(read_only=True) as con:
        for name, expected in truth.objects.items():
            alive = "true" if name in _BY_ID_ONLY else "_deleted_at is null"
            rows = con.execute(f"select id, _payload::varchar from stripe.{name} where {alive}")
            missing, hidden = dict(expected), truth.hidden.get(name, {})
            extra, other = [], []
            while chunk := rows.fetchmany(10_000):
                for one, payload in chunk:
                    content = missing.pop(one, hidden.get(one))
                    if content is None:
                        extra.append(one)
                    elif name not in _BY_ID_ONLY and fingerprint(payload.encode()) != content:
                        other.append(one)
            for what, ids in (("missing", list(missing)), ("not at Stripe", extra), ("of other content", other)):
                if ids:
                    found.append(f"{name}: {len(ids):,} {what} ({', '.join(ids[:_SHOWN])})")
    return found


def least_seconds(plan: Mapping[str, int], in_all: float, per_endpoint: float) -> float:
    """What both limits allow together: all requests at one, or the busiest endpoint's at the other."""
    return max(sum(plan.values()) / in_all, max(plan.values()) / per_endpoint)
