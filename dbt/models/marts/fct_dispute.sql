with ledger as (
    select
        account_id,
        livemode,
        source,
        {{ total('net') }} as ledger_effect,
        {{ total('fee') }} as fee
    from {{ ref('stg_stripe__balance_transactions') }}
    where reporting_category in ('dispute', 'dispute_reversal')
    group by account_id, livemode, source
)

select
    d.account_id,
    d.livemode,
    d.id as dispute_id,
    d.created as opened_at,
    d.charge as charge_id,
    c.customer as customer_id,
    d.amount,
    d.currency,
    d.reason,
    d.status,
    d.status like 'warning%' as is_inquiry,
    case when d.status in ('won', 'lost') then d.status end as outcome,
    to_timestamp((d.evidence_details ->> '$.due_by')::bigint) as due_by,
    coalesce(l.ledger_effect, 0)::bigint as ledger_effect,
    coalesce(l.fee, 0)::bigint as fee
from {{ ref('stg_stripe__disputes') }} as d
left join {{ ref('stg_stripe__charges') }} as c
    on d.account_id = c.account_id and d.livemode = c.livemode and d.charge = c.id
left join ledger as l
    on d.account_id = l.account_id and d.livemode = l.livemode and d.id = l.source
