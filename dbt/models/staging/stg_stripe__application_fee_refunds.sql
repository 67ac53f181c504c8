select
    "account_id",
    "livemode",
    "id",
    "object",
    "amount",
    "balance_transaction",
    "created",
    "currency",
    "fee",
    "metadata",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'application_fee_refunds') }}
