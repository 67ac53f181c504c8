-- What of an item's price is tax that the price includes: the rates on its newest invoice line that is taxed so.
with taxed as (
    select
        l.account_id,
        l.livemode,
        l.parent ->> '$.subscription_item_details.subscription_item' as item_id,
        l.id as line_id,
        (l.period ->> '$.start')::bigint as period_start,
        unnest(from_json(l.taxes, '["JSON"]')) as tax
    from {{ ref('stg_stripe__invoice_line_items') }} as l
    where (l.parent ->> '$.type') = 'subscription_item_details' and json_array_length(l.taxes) > 0 and not l.is_deleted
),

rates as (
    select
        t.account_id,
        t.livemode,
        t.item_id,
        t.line_id,
        t.period_start,
        sum(coalesce(r.effective_percentage, r.percentage))::decimal(18, 6) as percent
    from taxed as t
    inner join {{ ref('stg_stripe__tax_rates') }} as r
        on
            t.account_id = r.account_id and t.livemode = r.livemode
            and coalesce(
                t.tax ->> '$.tax_rate_details.tax_rate.id', t.tax ->> '$.tax_rate_details.tax_rate'
            ) = r.id
    where (t.tax ->> '$.tax_behavior') = 'inclusive'
    group by t.account_id, t.livemode, t.item_id, t.line_id, t.period_start
)

select
    account_id,
    livemode,
    item_id,
    -- without tax, 100 of 100 + percent
    100000000::bigint as without_tax,
    (100000000 + (percent * 1000000)::bigint)::bigint as with_tax
from rates
where percent > 0
qualify row_number() over (partition by account_id, livemode, item_id order by period_start desc, line_id asc) = 1
