-- Under the grain of a policy movements are what changed from month end to month end, or every single change.
with movements as (
    select
        m.account_id,
        m.livemode,
        m.policy_hash,
        m.basis,
        m.currency,
        m.month,
        m.customer_id,
        m.movement_type,
        m.movement_amount as amount
    from {{ ref('fct_mrr_customer_month') }} as m
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    where p.movement_grain = 'month_snapshot'
    union all
    select
        e.account_id,
        e.livemode,
        e.policy_hash,
        e.basis,
        e.currency,
        e.month,
        e.customer_id,
        e.movement_type,
        e.amount
    from {{ ref('fct_mrr_customer_event') }} as e
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    where p.movement_grain = 'event'
),

moved as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        month,
        coalesce(sum(amount) filter (where movement_type = 'new'), 0)::bigint as new_amount,
        coalesce(sum(amount) filter (where movement_type = 'expansion'), 0)::bigint as expansion,
        coalesce(sum(amount) filter (where movement_type = 'contraction'), 0)::bigint as contraction,
        coalesce(sum(amount) filter (where movement_type = 'churn'), 0)::bigint as churn,
        coalesce(sum(amount) filter (where movement_type = 'reactivation'), 0)::bigint as reactivation,
        count(distinct customer_id) filter (where movement_type = 'new') as customers_new,
        count(distinct customer_id) filter (where movement_type = 'churn') as customers_churned
    from movements
    group by all
),

totals as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        month,
        {{ total('opening') }} as opening,
        {{ total('fx_amount') }} as fx,
        {{ total('mrr_net') }} as closing,
        count(*) filter (where opening > 0) as customers_opening,
        count(*) filter (where mrr_net > 0) as customers_closing
    from {{ ref('fct_mrr_customer_month') }}
    group by all
)

select
    account_id,
    livemode,
    policy_hash,
    basis,
    currency,
    month,
    t.opening,
    coalesce(m.new_amount, 0)::bigint as new_amount,
    coalesce(m.expansion, 0)::bigint as expansion,
    coalesce(m.contraction, 0)::bigint as contraction,
    coalesce(m.churn, 0)::bigint as churn,
    coalesce(m.reactivation, 0)::bigint as reactivation,
    t.fx,
    t.closing,
    t.customers_opening,
    t.customers_closing,
    coalesce(m.customers_new, 0) as customers_new,
    coalesce(m.customers_churned, 0) as customers_churned
from totals as t
left join moved as m using (account_id, livemode, policy_hash, basis, currency, month)
