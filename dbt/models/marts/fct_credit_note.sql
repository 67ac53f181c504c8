select
    account_id,
    livemode,
    id as credit_note_id,
    created as created_at,
    invoice as invoice_id,
    customer as customer_id,
    number,
    type,
    reason,
    status,
    currency,
    subtotal,
    coalesce(total - total_excluding_tax, 0)::bigint as tax,
    total,
    pre_payment_amount,
    post_payment_amount,
    voided_at
from {{ ref('stg_stripe__credit_notes') }}
