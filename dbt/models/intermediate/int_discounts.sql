select
    d.account_id,
    d.livemode,
    d.id as discount_id,
    d.start as starts_at,
    d.end as ends_at,
    c.id as coupon_id,
    c.duration,
    -- in hundredths of a percent: exact, and never floating
    (c.percent_off * 100)::bigint as percent_hundredths,
    c.amount_off,
    c.currency
from {{ ref('stg_stripe__discounts') }} as d
inner join {{ ref('stg_stripe__coupons') }} as c
    on d.account_id = c.account_id and d.livemode = c.livemode and (d.source ->> '$.coupon') = c.id
