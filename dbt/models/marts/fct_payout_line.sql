-- Materialized first: DuckDB would otherwise join all payouts with all transactions of an account before it looks at
-- which belong together.
with lines as materialized (
    select
        t.account_id,
        t.livemode,
        t.payout,
        t.balance_transaction,
        b.reporting_category,
        b.amount,
        b.fee,
        b.net,
        b.currency
    from {{ source('sync', 'payout_transactions') }} as t
    inner join {{ ref('stg_stripe__balance_transactions') }} as b
        on t.account_id = b.account_id and t.livemode = b.livemode and t.balance_transaction = b.id
)

select
    l.account_id,
    l.livemode,
    l.payout as payout_id,
    l.balance_transaction as balance_transaction_id,
    l.reporting_category,
    l.amount as gross,
    l.fee,
    l.net,
    l.currency
from lines as l
inner join {{ ref('stg_stripe__payouts') }} as p
    on l.account_id = p.account_id and l.livemode = p.livemode and l.payout = p.id
-- the payout's own transaction is not part of what it pays out
where l.balance_transaction is distinct from p.balance_transaction
