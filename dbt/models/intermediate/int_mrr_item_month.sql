-- What each subscription item is worth at each month's last instant, under each policy, in its own currency.
select
    s.account_id,
    s.livemode,
    s.policy_hash,
    m.month,
    s.customer_id,
    s.subscription_id,
    s.item_id,
    s.price_id,
    s.product_id,
    s.currency,
    s.interval,
    s.quantity,
    s.status,
    s.source,
    s.is_exact,
    s.mrr_gross,
    s.mrr_net
from {{ ref('int_mrr_segments') }} as s
inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
inner join {{ ref('int_months') }} as m
    on
        s.account_id = m.account_id and s.livemode = m.livemode and p.timezone = m.timezone
        and s.valid_from <= m.measured_at and m.measured_at < s.valid_to
