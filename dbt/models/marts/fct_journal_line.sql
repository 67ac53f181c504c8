-- One entry per balance transaction, in settlement currency: clearing takes the net, fees their account, the rest the
-- account of its reporting category; what is unknown goes to suspense, so that clearing always equals Stripe's balance.
with taxes as (
    select
        account_id,
        livemode,
        balance_transaction_id,
        {{ total('amount') }} as tax
    from {{ ref('fct_fee') }}
    where type = 'tax' and line_no > 0
    group by account_id, livemode, balance_transaction_id
),

posted as (
    select
        b.*,
        coalesce(t.tax, 0) as tax,
        case
            when b.reporting_category = 'charge' and b.invoice_id is not null then 'accounts_receivable'
            when b.reporting_category = 'fee' and b.dispute_id is not null then 'dispute_fees'
            else coalesce(m.other_side, 'suspense')
        end as other_side,
        case
            when b.reporting_category in ('dispute', 'dispute_reversal') then 'dispute_fees'
            when b.reporting_category in ('payout', 'payout_reversal') then 'payout_fees'
            else 'processing_fees'
        end as fee_account
    from {{ ref('fct_balance_transaction') }} as b
    left join {{ ref('reporting_category_map') }} as m using (reporting_category)
    left join taxes as t
        on
            b.account_id = t.account_id and b.livemode = t.livemode
            and b.balance_transaction_id = t.balance_transaction_id
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
        fee - tax as signed
    from posted
    union all
    select
        *,
        3 as line_no,
        other_side as account,
        -amount as signed
    from posted
    union all
    select
        *,
        4 as line_no,
        'input_tax' as account,
        tax as signed
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
