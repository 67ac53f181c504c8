-- an item that carries MRR but whose price, or price in the subscription's currency, is unknown would be left out of MRR
{{ config(severity='warn') }}
select
    s.account_id,
    s.livemode,
    s.item_id,
    s.price_id
from {{ ref('int_subscription_item_states') }} as s
inner join {{ ref('int_accounts') }} as a
    on
        s.account_id = a.account_id and s.livemode = a.livemode
        and s.valid_from <= a.as_of and a.as_of < s.valid_to
left join {{ ref('int_price_amount') }} as p
    on
        s.account_id = p.account_id and s.livemode = p.livemode and s.price_id = p.price_id
        and s.currency = p.currency and coalesce(s.quantity, 0) = p.quantity
where
    s.status in ('active', 'past_due')
    and (p.price_id is null or (p.amount is null and p.usage_type = 'licensed'))
