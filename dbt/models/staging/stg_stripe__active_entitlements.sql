select
    "account_id",
    "livemode",
    "customer",
    "id",
    "object",
    "feature",
    "lookup_key",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'active_entitlements') }}
