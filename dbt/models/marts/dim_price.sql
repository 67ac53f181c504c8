select
    account_id,
    livemode,
    id as price_id,
    product as product_id,
    nickname,
    currency,
    type,
    billing_scheme,
    tiers_mode,
    unit_amount_decimal as unit_amount,
    recurring ->> '$.interval' as interval,
    (recurring ->> '$.interval_count')::bigint as interval_count,
    recurring ->> '$.usage_type' as usage_type,
    active as is_active,
    created as created_at,
    is_deleted
from {{ ref('stg_stripe__prices') }}
