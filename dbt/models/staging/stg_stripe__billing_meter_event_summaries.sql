select
    "account_id",
    "livemode",
    "id",
    "object",
    "aggregated_value",
    "end_time",
    "meter",
    "start_time",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'billing_meter_event_summaries') }}
