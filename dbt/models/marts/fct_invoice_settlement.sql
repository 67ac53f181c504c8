-- total = paid on Stripe + paid elsewhere + credit notes + from the customer's balance + open
with paid as (
    select
        account_id,
        livemode,
        invoice_id,
        coalesce(sum(amount_paid) filter (where type in ('payment_intent', 'charge')), 0)::bigint as paid_on_stripe,
        coalesce(sum(amount_paid) filter (where type not in ('payment_intent', 'charge')), 0)::bigint as recorded
    from {{ ref('fct_invoice_payment') }}
    where status = 'paid'
    group by account_id, livemode, invoice_id
),

parts as (
    select
        i.account_id,
        i.livemode,
        i.id as invoice_id,
        i.number,
        i.customer as customer_id,
        i.parent ->> '$.subscription_details.subscription' as subscription_id,
        i.currency,
        i.status,
        i.billing_reason,
        i.created as created_at,
        to_timestamp((i.status_transitions ->> '$.finalized_at')::bigint) as finalized_at,
        to_timestamp((i.status_transitions ->> '$.paid_at')::bigint) as paid_at,
        i.due_date as due_at,
        i.subtotal,
        coalesce(i.total - i.total_excluding_tax, 0)::bigint as tax,
        i.total,
        i.amount_overpaid,
        coalesce(p.paid_on_stripe, 0) as paid_on_stripe,
        greatest(coalesce(i.amount_paid_off_stripe, 0), coalesce(p.recorded, 0))::bigint as out_of_band,
        i.pre_payment_credit_notes_amount as credit_notes,
        (coalesce(i.ending_balance, i.starting_balance) - i.starting_balance)::bigint as from_balance,
        case when i.status in ('open', 'uncollectible', 'draft') then i.amount_remaining else 0 end::bigint as open_amount
    from {{ ref('stg_stripe__invoices') }} as i
    left join paid as p
        on i.account_id = p.account_id and i.livemode = p.livemode and i.id = p.invoice_id
    where not i.is_deleted and i.status <> 'void'
)

select
    *,
    (total + amount_overpaid - paid_on_stripe - out_of_band - credit_notes - from_balance - open_amount)::bigint
        as difference
from parts
