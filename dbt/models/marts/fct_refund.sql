select
    r.account_id,
    r.livemode,
    r.id as refund_id,
    r.created as created_at,
    {{ day_of('r.created') }} as day,
    r.charge as charge_id,
    c.customer as customer_id,
    r.amount,
    r.currency,
    r.status,
    r.reason,
    r.failure_reason,
    (coalesce(b.net, 0) + coalesce(f.net, 0))::bigint as ledger_effect,
    r.balance_transaction as balance_transaction_id,
    r.failure_balance_transaction as failure_balance_transaction_id
from {{ ref('stg_stripe__refunds') }} as r
left join {{ ref('stg_stripe__charges') }} as c
    on r.account_id = c.account_id and r.livemode = c.livemode and r.charge = c.id
left join {{ ref('stg_stripe__balance_transactions') }} as b
    on r.account_id = b.account_id and r.livemode = b.livemode and r.balance_transaction = b.id
left join {{ ref('stg_stripe__balance_transactions') }} as f
    on r.account_id = f.account_id and r.livemode = f.livemode and r.failure_balance_transaction = f.id
