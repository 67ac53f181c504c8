select
    account_id,
    livemode,
    id as product_id,
    name,
    description,
    active as is_active,
    created as created_at,
    metadata,
    is_deleted
from {{ ref('stg_stripe__products') }}
