-- Customers of a month some months ago, compared with the same customers now.
with months as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        customer_id,
        month,
        mrr_net
    from {{ ref('fct_mrr_customer_month') }}
),

windows as (
    select unnest([1, 3, 12])::integer as window_months
),

compared as (
    select
        s.account_id,
        s.livemode,
        s.policy_hash,
        s.basis,
        s.currency,
        w.window_months,
        (s.month + to_months(w.window_months))::date as month,
        s.mrr_net as start_mrr,
        coalesce(e.mrr_net, 0) as end_mrr
    from months as s
    cross join windows as w
    inner join {{ ref('int_policies') }} as p
        on s.account_id = p.account_id and s.livemode = p.livemode and s.policy_hash = p.policy_hash
    inner join {{ ref('int_months') }} as m
        on
            s.account_id = m.account_id and s.livemode = m.livemode and p.timezone = m.timezone
            and m.month = (s.month + to_months(w.window_months))::date
    left join months as e
        on
            s.account_id = e.account_id and s.livemode = e.livemode and s.policy_hash = e.policy_hash
            and s.basis = e.basis and s.currency = e.currency and s.customer_id = e.customer_id
            and e.month = m.month
    where s.mrr_net > 0
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

rates as (
    select
        s.*,
        r.closing,
        r.customers_closing,
        r.new_amount + r.expansion + r.reactivation as gained,
        -(r.contraction + r.churn) as lost
    from sums as s
    inner join {{ ref('rpt_mrr_rollforward') }} as r
        using (account_id, livemode, policy_hash, basis, currency, month)
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
    {{ ratio('lost_customers', 'start_customers') }} as logo_churn,
    {{ ratio('gained', 'lost') }} as quick_ratio,
    case
        when customers_closing > 0 then {{ round_half_up('closing::hugeint', 'customers_closing::hugeint') }}
    end as arpa,
    -- average revenue over churn: the churned share of start_customers goes to the numerator
    case
        when customers_closing > 0 and lost_customers > 0
            then {{ round_half_up(
                '(closing::hugeint * start_customers)', '(customers_closing::hugeint * lost_customers)'
            ) }}
    end as ltv
from rates
