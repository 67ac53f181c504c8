select
    t.account_id,
    t.livemode,
    t.payout as payout_id,
    t.balance_transaction as balance_transaction_id,
    b.reporting_category,
    b.amount as gross,
    b.fee,
    b.net,
    b.currency
from {{ source('sync', 'payout_transactions') }} as t
inner join {{ ref('stg_stripe__payouts') }} as p
    on t.account_id = p.account_id and t.livemode = p.livemode and t.payout = p.id
inner join {{ ref('stg_stripe__balance_transactions') }} as b
    on t.account_id = b.account_id and t.livemode = b.livemode and t.balance_transaction = b.id
-- the payout's own transaction is not part of what it pays out
where t.balance_transaction is distinct from p.balance_transaction
