-- Customers of a month some months ago, compared with the same customers now.
with windows as (
    select unnest([1, 3, 12])::integer as window_months
),

ahead as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        month,
        mrr_net as start_mrr,
        max(mrr_net) over (
            partition by account_id, livemode, policy_hash, basis, currency, customer_id
            order by month
            range between interval 1 month following and interval 1 month following
        ) as after_1,
        max(mrr_net) over (
            partition by account_id, livemode, policy_hash, basis, currency, customer_id
            order by month
            range between interval 3 month following and interval 3 month following
        ) as after_3,
        max(mrr_net) over (
            partition by account_id, livemode, policy_hash, basis, currency, customer_id
            order by month
            range between interval 12 month following and interval 12 month following
        ) as after_12
    from {{ ref('fct_mrr_customer_month') }}
),

later as (
    select
        * exclude (month, after_1, after_3, after_12),
        unnest([1, 3, 12])::integer as window_months,
        unnest([month + interval 1 month, month + interval 3 month, month + interval 12 month])::date as month,
        coalesce(unnest([after_1, after_3, after_12]), 0) as end_mrr
    from ahead
    where start_mrr > 0
),

-- only months that there are yet
compared as (
    select l.*
    from later as l
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    semi join {{ ref('int_months') }} as m
        on
            l.account_id = m.account_id and l.livemode = m.livemode and p.timezone = m.timezone
            and l.month = m.month
),

sums as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        month,
        window_months,
        {{ total('start_mrr') }} as start_mrr,
        {{ total('end_mrr') }} as end_mrr,
        {{ total('least(start_mrr, end_mrr)') }} as kept_mrr,
        count(*) as start_customers,
        count(*) filter (where end_mrr = 0) as lost_customers
    from compared
    group by account_id, livemode, policy_hash, basis, currency, month, window_months
),

-- Customers that are new since then, and those of them that are still there.
cohorts as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        cohort_month,
        count(distinct customer_id) as customers
    from {{ ref('fct_mrr_customer_month') }}
    group by all
),

new_customers as (
    select
        c.account_id,
        c.livemode,
        c.policy_hash,
        c.basis,
        c.currency,
        w.window_months,
        m.month,
        sum(c.customers)::bigint as new_customers
    from cohorts as c
    cross join windows as w
    inner join {{ ref('int_policies') }} as p
        on c.account_id = p.account_id and c.livemode = p.livemode and c.policy_hash = p.policy_hash
    inner join {{ ref('int_months') }} as m
        on
            c.account_id = m.account_id and c.livemode = m.livemode and p.timezone = m.timezone
            and m.month >= c.cohort_month
            and m.month < (c.cohort_month + to_months(w.window_months))::date
    group by all
),

still_there as (
    select
        c.account_id,
        c.livemode,
        c.policy_hash,
        c.basis,
        c.currency,
        w.window_months,
        c.month,
        count(*) as customers
    from {{ ref('fct_mrr_customer_month') }} as c
    inner join windows as w on c.tenure < w.window_months
    where c.mrr_net > 0
    group by all
),

rates as (
    select
        s.*,
        coalesce(n.new_customers, 0) as new_customers,
        coalesce(n.new_customers, 0) - coalesce(t.customers, 0) as lost_new_customers,
        r.closing,
        r.customers_closing,
        r.new_amount,
        r.expansion,
        r.reactivation,
        r.contraction,
        r.churn,
        p.quick_ratio_include_reactivation,
        p.logo_churn_formula,
        p.ltv_gross_margin_numerator,
        p.ltv_gross_margin_denominator
    from sums as s
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    inner join {{ ref('rpt_mrr_rollforward') }} as r
        using (account_id, livemode, policy_hash, basis, currency, month)
    left join new_customers as n using (account_id, livemode, policy_hash, basis, currency, month, window_months)
    left join still_there as t using (account_id, livemode, policy_hash, basis, currency, month, window_months)
)

select
    account_id,
    livemode,
    policy_hash,
    basis,
    currency,
    month,
    window_months,
    start_customers,
    lost_customers,
    {{ ratio('end_mrr', 'start_mrr') }} as nrr,
    {{ ratio('kept_mrr', 'start_mrr') }} as grr,
    {{ logo_churn_rate(
        'lost_customers', 'start_customers', 'lost_new_customers', 'new_customers', 'logo_churn_formula'
    ) }} as logo_churn,
    {{ quick_ratio(
        'new_amount', 'expansion', 'reactivation', 'contraction', 'churn', 'quick_ratio_include_reactivation'
    ) }} as quick_ratio,
    {{ arpa('closing', 'customers_closing') }} as arpa,
    {{ lifetime_value(
        'closing', 'customers_closing', 'lost_customers', 'start_customers',
        'ltv_gross_margin_numerator', 'ltv_gross_margin_denominator'
    ) }} as ltv
from rates
