with paid as (
    select
        account_id,
        livemode,
        customer as customer_id,
        min(to_timestamp((status_transitions ->> '$.paid_at')::bigint)) as first_paid_at
    from {{ ref('stg_stripe__invoices') }}
    where status = 'paid' and amount_paid > 0
    group by account_id, livemode, customer
),

reported as (
    select * from {{ ref('int_policies') }} where is_default
),

mrr as (
    select
        account_id,
        livemode,
        customer_id,
        any_value(currency order by month desc) as mrr_currency,
        min(cohort_month) as cohort_month,
        any_value(mrr_net order by month desc) as last_mrr,
        max(month) as last_month
    from {{ ref('fct_mrr_customer_month') }}
    semi join reported using (account_id, livemode, policy_hash)
    where basis = 'local'
    group by account_id, livemode, customer_id
)

select
    c.account_id,
    c.livemode,
    c.id as customer_id,
    c.name,
    c.email,
    c.address ->> '$.country' as country,
    c.currency,
    c.balance as credit_balance,
    c.created as created_at,
    paid.first_paid_at,
    mrr.cohort_month,
    mrr.mrr_currency,
    case when mrr.last_month = {{ month_of('a.as_of') }} then mrr.last_mrr else 0 end as current_mrr,
    c.metadata,
    c.is_deleted
from {{ ref('stg_stripe__customers') }} as c
inner join {{ ref('int_accounts') }} as a on c.account_id = a.account_id and c.livemode = a.livemode
left join paid on c.account_id = paid.account_id and c.livemode = paid.livemode and c.id = paid.customer_id
left join mrr on c.account_id = mrr.account_id and c.livemode = mrr.livemode and c.id = mrr.customer_id
