select
    "account_id",
    "livemode",
    "id",
    "object",
    "available",
    "connect_reserved",
    "instant_available",
    "issuing",
    "pending",
    "refund_and_dispute_prefunding",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'balance') }}
