select
    "account_id",
    "livemode",
    "id",
    "object",
    "actionable",
    "charge",
    "created",
    "fraud_type",
    "payment_intent",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'early_fraud_warnings') }}
