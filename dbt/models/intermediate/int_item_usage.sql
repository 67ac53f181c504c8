-- What usage-based items were last billed: each closed usage invoice holds until the next one.
with billed as (
    select
        l.account_id,
        l.livemode,
        l.parent ->> '$.subscription_item_details.subscription_item' as item_id,
        l.pricing ->> '$.price_details.price' as price_id,
        i.created as billed_at,
        {{ total('l.amount') }} as amount
    from {{ ref('stg_stripe__invoice_line_items') }} as l
    inner join {{ ref('stg_stripe__invoices') }} as i
        on l.account_id = i.account_id and l.livemode = i.livemode and l.invoice = i.id
    inner join {{ ref('stg_stripe__prices') }} as p
        on
            l.account_id = p.account_id and l.livemode = p.livemode
            and (l.pricing ->> '$.price_details.price') = p.id
    where
        (l.parent ->> '$.type') = 'subscription_item_details'
        and (p.recurring ->> '$.usage_type') = 'metered'
        and i.status in ('paid', 'open', 'uncollectible')
        and not l.is_deleted
    group by all
)

select
    account_id,
    livemode,
    item_id,
    price_id,
    amount,
    billed_at as valid_from,
    coalesce(
        lead(billed_at) over (partition by account_id, livemode, item_id order by billed_at), 'infinity'::timestamptz
    ) as valid_to
from billed
