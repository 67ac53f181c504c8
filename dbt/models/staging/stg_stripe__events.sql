select
    "account_id",
    "livemode",
    "id",
    "object",
    "account",
    "api_version",
    "context",
    "created",
    "data",
    "pending_webhooks",
    "request",
    "type",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'events') }}
