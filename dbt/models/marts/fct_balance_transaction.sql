with batches as (
    select
        t.account_id,
        t.livemode,
        t.balance_transaction,
        t.payout as payout_id,
        p.arrival_date as payout_effective_at
    from {{ source('sync', 'payout_transactions') }} as t
    inner join {{ ref('stg_stripe__payouts') }} as p
        on
            t.account_id = p.account_id and t.livemode = p.livemode and t.payout = p.id
            and t.balance_transaction <> p.balance_transaction
),

sources as (
    select
        account_id,
        livemode,
        id as source_id,
        id as charge_id,
        null as refund_id,
        null as dispute_id
    from {{ ref('stg_stripe__charges') }}
    union all
    select
        account_id,
        livemode,
        id as source_id,
        charge as charge_id,
        id as refund_id,
        null as dispute_id
    from {{ ref('stg_stripe__refunds') }}
    union all
    select
        account_id,
        livemode,
        id as source_id,
        charge as charge_id,
        null as refund_id,
        id as dispute_id
    from {{ ref('stg_stripe__disputes') }}
),

invoiced as (
    select
        account_id,
        livemode,
        payment ->> '$.payment_intent' as payment_intent,
        min(invoice) as invoice_id
    from {{ ref('stg_stripe__invoice_payments') }}
    where status = 'paid' and (payment ->> '$.payment_intent') is not null
    group by account_id, livemode, payment ->> '$.payment_intent'
)

select
    b.account_id,
    b.livemode,
    b.id as balance_transaction_id,
    b.created as created_at,
    {{ day_of('b.created') }} as day,
    b.available_on as available_at,
    b.type,
    b.reporting_category,
    b.amount,
    b.fee,
    b.net,
    b.currency,
    b.status,
    b.description,
    b.source as source_id,
    s.charge_id,
    s.refund_id,
    s.dispute_id,
    c.payment_intent as payment_intent_id,
    c.customer as customer_id,
    i.invoice_id,
    v.parent ->> '$.subscription_details.subscription' as subscription_id,
    coalesce(batches.payout_id, case when b.type like 'payout%' then b.source end) as payout_id,
    batches.payout_effective_at,
    c.amount as presentment_amount,
    c.currency as presentment_currency,
    b.exchange_rate
from {{ ref('stg_stripe__balance_transactions') }} as b
left join batches
    on b.account_id = batches.account_id and b.livemode = batches.livemode and b.id = batches.balance_transaction
left join sources as s
    on b.account_id = s.account_id and b.livemode = s.livemode and b.source = s.source_id
left join {{ ref('stg_stripe__charges') }} as c
    on b.account_id = c.account_id and b.livemode = c.livemode and s.charge_id = c.id
left join invoiced as i
    on b.account_id = i.account_id and b.livemode = i.livemode and c.payment_intent = i.payment_intent
left join {{ ref('stg_stripe__invoices') }} as v
    on b.account_id = v.account_id and b.livemode = v.livemode and i.invoice_id = v.id
