-- What a customer's MRR in one currency is at the end of each month from its first on, and how it differs from the month before.
with items as (
    select
        account_id,
        livemode,
        policy_hash,
        customer_id,
        currency,
        month,
        {{ total('mrr_net') }} as after
    from {{ ref('int_mrr_item_month') }}
    group by all
),

first_months as (
    select
        account_id,
        livemode,
        policy_hash,
        customer_id,
        currency,
        min(month) as first_month
    from items
    where after > 0
    group by all
),

grid as (
    select
        f.account_id,
        f.livemode,
        f.policy_hash,
        f.customer_id,
        f.currency,
        m.month,
        m.measured_at as changed_at,
        coalesce(i.after, 0) as after
    from first_months as f
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    inner join {{ ref('int_months') }} as m
        on
            f.account_id = m.account_id and f.livemode = m.livemode and p.timezone = m.timezone
            and m.month >= f.first_month
    left join items as i
        on
            f.account_id = i.account_id and f.livemode = i.livemode and f.policy_hash = i.policy_hash
            and f.customer_id = i.customer_id and f.currency = i.currency and m.month = i.month
)

select
    *,
    (after - coalesce(lag(after) over (
        partition by account_id, livemode, policy_hash, customer_id, currency
        order by month
    ), 0))::bigint as delta
from grid
