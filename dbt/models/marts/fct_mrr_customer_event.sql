with moved as (
    {{ movements(
        'select c.*, ' ~ month_of('c.changed_at', 'p.timezone') ~ ' as month from ' ~ ref('int_mrr_changes')
        ~ ' as c inner join ' ~ ref('int_policies') ~ ' as p using (account_id, livemode, policy_hash)'
    ) }}
)

select
    account_id,
    livemode,
    policy_hash,
    basis,
    currency,
    customer_id,
    changed_at,
    month,
    movement_type,
    amount,
    value as mrr_after
from moved
where movement_type is not null
