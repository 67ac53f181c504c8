select
    "account_id",
    "livemode",
    "id",
    "object",
    "amount",
    "balance_transaction",
    "created",
    "currency",
    "destination_payment_refund",
    "metadata",
    "source_refund",
    "transfer",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'transfer_reversals') }}
