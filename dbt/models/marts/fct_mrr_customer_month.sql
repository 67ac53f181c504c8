with items as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        customer_id,
        month,
        {{ total('mrr_gross') }} as mrr_gross,
        {{ total('mrr_net') }} as mrr_net,
        -- the row is only as exact as its least exact item
        case
            when bool_or(history_quality = 'reconstructed') then 'reconstructed'
            when bool_or(history_quality = 'day') then 'day'
            else 'exact'
        end as history_quality
    from {{ ref('fct_mrr_item_month') }}
    group by account_id, livemode, policy_hash, basis, currency, customer_id, month
),

customers as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        customer_id,
        min(month) filter (where mrr_net > 0) as cohort_month
    from items
    group by account_id, livemode, policy_hash, basis, currency, customer_id
    having min(month) filter (where mrr_net > 0) is not null
),

grid as (
    select
        c.*,
        m.month,
        coalesce(i.mrr_gross, 0) as mrr_gross,
        coalesce(i.mrr_net, 0) as mrr_net,
        i.history_quality
    from customers as c
    inner join {{ ref('int_months') }} as m
        on c.account_id = m.account_id and c.livemode = m.livemode and m.month >= c.cohort_month
    left join items as i
        on
            c.account_id = i.account_id and c.livemode = i.livemode and c.policy_hash = i.policy_hash
            and c.basis = i.basis and c.currency = i.currency and c.customer_id = i.customer_id
            and m.month = i.month
),

moved as (
    select
        *,
        coalesce(lag(mrr_net) over (
            partition by account_id, livemode, policy_hash, basis, currency, customer_id
            order by month
        ), 0) as opening
    from grid
)

select
    account_id,
    livemode,
    policy_hash,
    basis,
    currency,
    customer_id,
    month,
    opening,
    mrr_gross,
    mrr_net,
    {{ movement_type('opening', 'mrr_net', 'month > cohort_month') }} as movement_type,
    (mrr_net - opening)::bigint as movement_amount,
    0::bigint as fx_amount,
    cohort_month,
    datediff('month', cohort_month, month)::integer as tenure,
    coalesce(history_quality, 'exact') as history_quality
from moved
where opening > 0 or mrr_net > 0
