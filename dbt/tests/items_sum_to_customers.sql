with items as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        month,
        sum(mrr_net) as mrr
    from {{ ref('fct_mrr_item_month') }}
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
        closing as mrr
    from {{ ref('rpt_mrr_rollforward') }}
)

select *
from items
full join totals using (account_id, livemode, policy_hash, basis, currency, month)
where coalesce(items.mrr, 0) <> coalesce(totals.mrr, 0)
