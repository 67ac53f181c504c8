select
    d.account_id,
    d.livemode,
    d.id as discount_id,
    d.customer as customer_id,
    d.subscription is null and d.subscription_item is null and d.invoice is null and d.invoice_item is null
    and d.checkout_session is null as is_of_customer,
    d.start as starts_at,
    -- a customer's discount that was taken away ended then
    least(coalesce(d.end, 'infinity'::timestamptz), coalesce(d._deleted_at, 'infinity'::timestamptz)) as taken_at,
    coalesce(d.end, 'infinity'::timestamptz) as ends_at,
    c.id as coupon_id,
    c.duration,
    -- in hundredths of a percent: exact, and never floating
    (c.percent_off * 100)::bigint as percent_hundredths,
    c.amount_off,
    c.currency,
    c.currency_options,
    from_json(json_extract(c.applies_to, '$.products'), '["VARCHAR"]') as products
from {{ ref('stg_stripe__discounts') }} as d
inner join {{ ref('stg_stripe__coupons') }} as c
    on d.account_id = c.account_id and d.livemode = c.livemode and (d.source ->> '$.coupon') = c.id
