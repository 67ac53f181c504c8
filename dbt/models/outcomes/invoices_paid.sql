-- A paid invoice as an entry that balances: who paid how on the debit side, revenue and tax on the credit side.
select
    i.invoice_id as key,
    a.as_of,
    i.account_id,
    i.livemode,
    i.invoice_id,
    i.number,
    i.customer_id,
    c.name as customer_name,
    i.currency,
    i.total,
    i.tax,
    i.paid_on_stripe as amount_paid,
    i.paid_at,
    list_filter(
        [
            {'account': 'stripe_receipts', 'debit': i.paid_on_stripe, 'credit': 0::bigint},
            {'account': 'out_of_band_receipts', 'debit': i.out_of_band, 'credit': 0::bigint},
            {
                'account': 'customer_credit_balance',
                'debit': greatest(i.from_balance, 0)::bigint,
                'credit': greatest(-i.from_balance, 0)::bigint
            },
            {'account': 'credit_notes', 'debit': i.credit_notes, 'credit': 0::bigint},
            {
                'account': 'revenue',
                'debit': greatest(i.tax - i.total, 0)::bigint,
                'credit': greatest(i.total - i.tax, 0)::bigint
            },
            {
                'account': 'sales_tax_payable',
                'debit': greatest(-i.tax, 0)::bigint,
                'credit': greatest(i.tax, 0)::bigint
            },
            {'account': 'customer_overpayments', 'debit': 0::bigint, 'credit': i.amount_overpaid}
        ],
        x -> x.debit <> 0 or x.credit <> 0
    ) as journal_lines
from {{ ref('fct_invoice_settlement') }} as i
inner join {{ ref('int_accounts') }} as a on i.account_id = a.account_id and i.livemode = a.livemode
left join {{ ref('dim_customer') }} as c
    on i.account_id = c.account_id and i.livemode = c.livemode and i.customer_id = c.customer_id
where i.status = 'paid' and i.total <> 0
