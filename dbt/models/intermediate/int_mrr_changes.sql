-- Every instant at which a customer's MRR in one currency changes, under each policy.
with edges as (
    select
        account_id,
        livemode,
        policy_hash,
        customer_id,
        currency,
        valid_from as changed_at,
        mrr_net as delta
    from {{ ref('int_mrr_segments') }}
    union all
    select
        account_id,
        livemode,
        policy_hash,
        customer_id,
        currency,
        valid_to,
        -mrr_net
    from {{ ref('int_mrr_segments') }}
),

summed as (
    select
        e.account_id,
        e.livemode,
        e.policy_hash,
        e.customer_id,
        e.currency,
        e.changed_at,
        {{ total('e.delta') }} as delta
    from edges as e
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    where e.changed_at <= p.as_of
    group by all
    having sum(e.delta) <> 0
)

select
    *,
    (sum(delta) over (
        partition by account_id, livemode, policy_hash, customer_id, currency
        order by changed_at
    ))::bigint as after
from summed
