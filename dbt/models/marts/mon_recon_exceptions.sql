with found as (
    select
        account_id,
        livemode,
        'payout_mismatch' as code,
        payout_id as ref,
        coalesce(difference, amount) as amount,
        currency,
        'error' as severity,
        created_at as opened_at,
        'The payout differs from the sum of its batch. Read its transactions again; then ask Stripe.' as detail
    from {{ ref('fct_payout') }}
    where recon_status = 'mismatch'
    union all
    select
        account_id,
        livemode,
        'payout_failed',
        payout_id,
        amount,
        currency,
        'error',
        created_at,
        'The bank returned the payout: ' || coalesce(failure_code, 'no reason given')
        || '. Correct the bank account; the money is in the Stripe balance again.'
    from {{ ref('fct_payout') }}
    where status = 'failed'
    union all
    select
        account_id,
        livemode,
        'refund_failed',
        refund_id,
        amount,
        currency,
        'error',
        created_at,
        'The refund did not reach the customer. Pay it back another way.'
    from {{ ref('fct_refund') }}
    where status = 'failed'
    union all
    select
        account_id,
        livemode,
        'payment_failed_after_success',
        source_id,
        amount,
        currency,
        'warn',
        created_at,
        'A payment that had succeeded was taken back.'
    from {{ ref('fct_balance_transaction') }}
    where reporting_category = 'charge_failure'
    union all
    select
        b.account_id,
        b.livemode,
        'unmapped_category',
        b.balance_transaction_id,
        b.net,
        b.currency,
        'error',
        b.created_at,
        'Category ' || coalesce(b.reporting_category, 'none') || ' is in suspense. Add it to seeds/reporting_category_map.csv.'
    from {{ ref('fct_balance_transaction') }} as b
    anti join {{ ref('reporting_category_map') }} using (reporting_category)
    union all
    select
        account_id,
        livemode,
        'clearing_mismatch',
        currency || ' ' || day,
        difference,
        currency,
        'error',
        {{ starts_at('day') }},
        'The booked balance differs from what Stripe reports. Refresh; if it stays, run ledgerline audit --full.'
    from {{ ref('fct_stripe_balance_daily') }}
    where difference <> 0
    union all
    select
        account_id,
        livemode,
        'invoice_unbalanced',
        invoice_id,
        difference,
        currency,
        'error',
        created_at,
        'The invoice total is not explained by its payments, credit notes, balance and what is open.'
    from {{ ref('fct_invoice_settlement') }}
    where difference <> 0
    union all
    select distinct
        account_id,
        livemode,
        'fx_rate_missing',
        currency || ' ' || strftime(month, '%Y-%m'),
        0,
        currency,
        'warn',
        {{ starts_at('month') }},
        'No rate to ' || upper(reporting_currency)
        || ' is known: the MRR of these customers is missing there. Add it to the file of LEDGERLINE_FX_RATES.'
    from {{ ref('int_fx_month') }}
    where numerator is null
    union all
    select
        account_id,
        livemode,
        'mrr_unknown',
        item_id,
        0,
        currency,
        'error',
        min(valid_from),
        'The price has no amount in the currency of the subscription, or its discounts do not fit whole numbers: the item'
        || ' is missing in MRR. Correct price ' || price_id || ' at Stripe.'
    from {{ ref('int_mrr_segments') }}
    where mrr_gross is null or mrr_net is null
    group by account_id, livemode, item_id, currency, price_id
)

select
    account_id,
    livemode,
    code,
    ref,
    amount::bigint as amount,
    currency,
    severity,
    opened_at,
    null::timestamptz as resolved_at,
    detail
from found
