select
    "account_id",
    "livemode",
    "id",
    "object",
    "created",
    "credit",
    "credit_grant",
    "debit",
    "effective_at",
    "test_clock",
    "type",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'billing_credit_balance_transactions') }}
