select
    p.account_id,
    p.livemode,
    p.id as invoice_payment_id,
    p.invoice as invoice_id,
    p.currency,
    p.amount_requested,
    coalesce(p.amount_paid, 0) as amount_paid,
    p.status,
    p.is_default,
    p.payment ->> '$.type' as type,
    p.payment ->> '$.payment_intent' as payment_intent_id,
    coalesce(p.payment ->> '$.charge', i.latest_charge) as charge_id,
    to_timestamp((p.status_transitions ->> '$.paid_at')::bigint) as paid_at,
    p.created as created_at
from {{ ref('stg_stripe__invoice_payments') }} as p
left join {{ ref('stg_stripe__payment_intents') }} as i
    on p.account_id = i.account_id and p.livemode = i.livemode and (p.payment ->> '$.payment_intent') = i.id
where not p.is_deleted
