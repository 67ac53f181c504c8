-- opening + movements = closing, and a month opens as the month before closed
with ordered as (
    select
        *,
        lag(closing) over (
            partition by account_id, livemode, policy_hash, basis, currency
            order by month
        ) as closed_before
    from {{ ref('rpt_mrr_rollforward') }}
)

select *
from ordered
where
    opening + new_amount + expansion + contraction + churn + reactivation + fx <> closing
    or opening <> coalesce(closed_before, 0)
