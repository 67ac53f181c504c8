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
    group by all
),

events as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        customer_id,
        month,
        {{ total('amount') }} as amount
    from {{ ref('fct_mrr_customer_event') }}
    group by all
),

months as (
    select
        m.account_id,
        m.livemode,
        m.policy_hash,
        m.basis,
        m.currency,
        m.customer_id,
        m.month,
        m.movement_type,
        case when p.movement_grain = 'event' then coalesce(e.amount, 0) else m.amount end as moved,
        coalesce(i.mrr_gross, 0) as mrr_gross,
        coalesce(i.mrr_net, 0) as mrr_net,
        i.history_quality
    from {{ ref('int_mrr_customer_month') }} as m
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    left join items as i using (account_id, livemode, policy_hash, basis, currency, customer_id, month)
    left join events as e using (account_id, livemode, policy_hash, basis, currency, customer_id, month)
),

opened as (
    select
        *,
        coalesce(lag(mrr_net) over customer, 0) as opening,
        min(case when mrr_net > 0 then month end) over whole as cohort_month
    from months
    window
        customer as (
            partition by account_id, livemode, policy_hash, basis, currency, customer_id
            order by month
        ),
        whole as (partition by account_id, livemode, policy_hash, basis, currency, customer_id)
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
    movement_type,
    moved::bigint as movement_amount,
    (mrr_net - opening - moved)::bigint as fx_amount,
    cohort_month,
    datediff('month', cohort_month, month)::integer as tenure,
    coalesce(history_quality, 'exact') as history_quality
from opened
where opening > 0 or mrr_net > 0 or moved <> 0
