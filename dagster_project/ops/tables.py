"""The tables of the ops database. Times are UTC; effects, attempts and approvals are copied to the warehouse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class Utc(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no zone, so it is taken off on the way in and put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

inbox = Table(
    "inbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True, comment="order of arrival"),
    Column("event_id", String(255), nullable=False, unique=True, comment="Stripe's evt_…; a second arrival is dropped"),
    Column("type", String(255), nullable=False),
    Column("object_id", String(255)),
    Column("account", String(255), comment="connected account of the event, or the one in the receiver's path"),
    Column("livemode", Boolean, nullable=False),
    Column("api_version", String(64)),
    Column("created", Utc, nullable=False, comment="when it happened, by Stripe's clock"),
    Column("received_at", Utc, nullable=False),
    Column("source", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False, comment="the bytes that were signed"),
    Column("sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False, comment="new, loaded"),
    Index("inbox_state", "state", "id"),
    sqlite_autoincrement=True,
)

subject = Table(
    "subject",
    metadata,
    Column("route", String(128), primary_key=True),
    Column("account_id", String(255), primary_key=True),
    Column("livemode", Boolean, primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("version", Integer, nullable=False, comment="grows with every entry or change that makes an effect"),
    Column("hash", String(64), nullable=False, comment="of the watched columns"),
    Column("as_of", Utc),
    Column("first_seen", Utc, nullable=False),
    Column("left_at", Utc, comment="when the outcome no longer had the key"),
)

route_state = Table(
    "route_state",
    metadata,
    Column("route", String(128), primary_key=True),
    Column("route_hash", String(64), nullable=False),
    Column("first_planned_at", Utc, nullable=False, comment="the baseline, or the backfill"),
    Column("last_planned_at", Utc, nullable=False),
    Column("publication", Integer, comment="number of the published version last planned from"),
)

effect = Table(
    "effect",
    metadata,
    Column("id", String(36), primary_key=True, comment="uuid5 of route, key, version, step and generation"),
    Column("route", String(128), nullable=False),
    Column("route_hash", String(64), nullable=False),
    Column("account_id", String(255), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("key", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("gen", Integer, nullable=False, comment="1, or more for a replay of one that did not happen"),
    Column("replay_of", String(36)),
    Column("dest", String(64), nullable=False),
    Column("lane", String(640), nullable=False, comment="destination and entity: one at a time, in order of seq"),
    Column("seq", BigInteger, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("payload_sha", String(64), nullable=False),
    Column("while_source", String(128), comment="outcome that is read again before sending"),
    Column("while_column", String(128)),
    Column("occurred_at", Utc, comment="when it happened, by the column that the route names"),
    Column("created_at", Utc, nullable=False),
    Column("not_before", Utc, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("next_at", Utc, comment="when it is due; empty means a person decides"),
    Column("lease_until", Utc),
    Column("lease_by", String(128)),
    Column("first_sent_at", Utc),
    Column("done_at", Utc),
    Column("remote_id", String(255)),
    Column("error_class", String(32)),
    Column("error", Text),
    UniqueConstraint("route", "account_id", "livemode", "key", "version", "step", "gen", name="effect_once"),
    Index("effect_due", "dest", "state", "next_at"),
    Index("effect_lane", "lane", "seq"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("effect_id", String(36), ForeignKey("effect.id"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("started", Utc, nullable=False),
    Column("ended", Utc),
    Column("outcome", String(32), comment="delivered, not_applied, permanent, unknown; empty while it is under way"),
    Column("error", Text),
    Column("retry_after_s", Integer),
)

approval = Table(
    "approval",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("effect_id", String(36), ForeignKey("effect.id"), nullable=False),
    Column("policy", JSON, nullable=False),
    Column("digest", String(64), nullable=False, comment="sha256 of destination and payload: what was approved"),
    Column("state", String(16), nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("requested_by", String(255)),
    Column("requested_at", Utc, nullable=False),
    Column("expires_at", Utc),
)

decision = Table(
    "decision",
    metadata,
    Column("approval_id", String(36), ForeignKey("approval.id"), primary_key=True),
    Column("principal", String(255), primary_key=True),
    Column("verdict", String(16), nullable=False),
    Column("via", String(32), nullable=False),
    Column("at", Utc, nullable=False),
)

# Not yet over: these hold back later effects of their lane.
OPEN = ("ready", "waiting", "held", "sending")
