select
    d.dispute_id as key,
    a.as_of,
    d.account_id,
    d.livemode,
    d.dispute_id,
    d.charge_id,
    d.customer_id,
    c.name as customer_name,
    d.amount,
    d.currency,
    {{ major_text('d.amount', 'coalesce(m.exponent, 2)', 'd.currency') }} as amount_text,
    d.reason,
    d.status,
    d.due_by,
    d.opened_at
from {{ ref('fct_dispute') }} as d
inner join {{ ref('int_accounts') }} as a on d.account_id = a.account_id and d.livemode = a.livemode
left join {{ ref('dim_customer') }} as c
    on d.account_id = c.account_id and d.livemode = c.livemode and d.customer_id = c.customer_id
left join {{ ref('stripe_currency') }} as m on d.currency = m.code
where d.status in ('needs_response', 'warning_needs_response')
