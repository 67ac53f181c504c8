with batches as (
    select
        account_id,
        livemode,
        payout_id,
        {{ total('net') }} as batch_net,
        count(*) as transactions
    from {{ ref('fct_payout_line') }}
    group by account_id, livemode, payout_id
)

select
    p.account_id,
    p.livemode,
    p.id as payout_id,
    p.created as created_at,
    p.arrival_date as arrives_at,
    {{ day_of('p.arrival_date') }} as arrival_date,
    p.currency,
    p.amount,
    p.status,
    p.automatic as is_automatic,
    p.method,
    p.reconciliation_status,
    b.transactions,
    b.batch_net,
    (p.amount - b.batch_net)::bigint as difference,
    {{ payout_status('p.status', 'p.automatic', 'p.reconciliation_status', 'p.amount', 'b.batch_net') }} as recon_status,
    p.balance_transaction as balance_transaction_id,
    p.failure_balance_transaction as failure_balance_transaction_id,
    p.failure_code,
    p.trace_id ->> '$.value' as trace_id
from {{ ref('stg_stripe__payouts') }} as p
left join batches as b
    on p.account_id = b.account_id and p.livemode = b.livemode and p.id = b.payout_id
