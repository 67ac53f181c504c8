select
    "account_id",
    "livemode",
    "id",
    "object",
    "alert_type",
    "status",
    "title",
    "usage_threshold",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'billing_alerts') }}
