select
    "account_id",
    "livemode",
    "id",
    "object",
    "created",
    "metadata",
    "nickname",
    "status",
    "version",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'invoice_rendering_templates') }}
