-- One entry per balance transaction, in settlement currency: clearing takes the net, fees their account, the rest the
-- account of its reporting category; what is unknown goes to suspense, so that clearing always equals Stripe's balance.
with posted as (
    select
        b.*,
        case
            when b.reporting_category = 'charge' and b.invoice_id is not null then 'accounts_receivable'
            else coalesce(m.other_side, 'suspense')
        end as other_side,
        case
            when b.reporting_category in ('dispute', 'dispute_reversal') then 'dispute_fees'
            when b.reporting_category in ('payout', 'payout_reversal') then 'payout_fees'
            else 'processing_fees'
        end as fee_account
    from {{ ref('fct_balance_transaction') }} as b
    left join {{ ref('reporting_category_map') }} as m using (reporting_category)
),

lines as (
    select
        *,
        1 as line_no,
        'stripe_clearing' as account,
        net as signed
    from posted
    union all
    select
        *,
        2 as line_no,
        fee_account as account,
        fee as signed
    from posted
    union all
    select
        *,
        3 as line_no,
        other_side as account,
        -amount as signed
    from posted
)

select
    account_id,
    livemode,
    balance_transaction_id as ref,
    line_no,
    day as date,
    date_trunc('month', day)::date as period,
    account as account_code,
    greatest(signed, 0)::bigint as debit,
    greatest(-signed, 0)::bigint as credit,
    currency,
    reporting_category,
    md5(concat_ws('|', account_id, livemode, balance_transaction_id, 1)) as posting_key,
    1 as posting_version
from lines
where signed <> 0
