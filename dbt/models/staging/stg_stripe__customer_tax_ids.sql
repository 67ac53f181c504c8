select
    "account_id",
    "livemode",
    "id",
    "object",
    "country",
    "created",
    "customer",
    "customer_account",
    "owner",
    "type",
    "value",
    "verification",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'customer_tax_ids') }}
