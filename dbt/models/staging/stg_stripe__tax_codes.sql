select
    "account_id",
    "livemode",
    "id",
    "object",
    "description",
    "name",
    "requirements",
    "_api_version",
    "_observed_at",
    "_source",
    "_deleted_at",
    _deleted_at is not null as is_deleted
from {{ source('stripe', 'tax_codes') }}
