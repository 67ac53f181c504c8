select
    "account_id",
    "livemode",
    "id",
    "object",
    "created",
    "deletes_after",
    "frozen_time",
    "name",
    "status",
    "status_details",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'test_clocks') }}
