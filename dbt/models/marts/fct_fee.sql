-- The cost of Stripe: fees taken from transactions, and transactions that are a fee themselves.
with detailed as (
    select
        account_id,
        livemode,
        id as balance_transaction_id,
        created,
        currency,
        unnest(from_json(fee_details, '["JSON"]')) as detail,
        generate_subscripts(from_json(fee_details, '["JSON"]'), 1) as line_no
    from {{ ref('stg_stripe__balance_transactions') }}
)

select
    account_id,
    livemode,
    balance_transaction_id,
    line_no::integer as line_no,
    {{ day_of('created') }} as day,
    detail ->> '$.type' as type,
    (detail ->> '$.amount')::bigint as amount,
    currency,
    detail ->> '$.description' as description
from detailed
union all
select
    account_id,
    livemode,
    id as balance_transaction_id,
    0 as line_no,
    {{ day_of('created') }} as day,
    'stripe_fee' as type,
    -amount as amount,
    currency,
    description
from {{ ref('stg_stripe__balance_transactions') }}
where reporting_category = 'fee'
