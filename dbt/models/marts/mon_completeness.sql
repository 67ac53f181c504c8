-- What is in the warehouse per day. Nothing here is proven yet: only a second reading proves a day.
{% set objects = ['charges', 'invoices', 'customers', 'subscriptions', 'balance_transactions', 'refunds', 'disputes',
                  'payouts', 'payment_intents', 'invoice_payments', 'credit_notes', 'events'] %}
{% for name in objects %}
select
    account_id,
    livemode,
    '{{ name }}' as object,
    (created at time zone 'UTC')::date as day,
    null::bigint as rows_stripe,
    count(*) as rows_warehouse,
    null::varchar as checksum_stripe,
    md5(string_agg(id, '' order by id)) as checksum_warehouse,
    'list' as method,
    null::timestamptz as proven_at,
    null::bigint as requests,
    'open' as state
from {{ ref('stg_stripe__' ~ name) }}
where not is_deleted
group by account_id, livemode, (created at time zone 'UTC')::date
{{ "union all" if not loop.last }}
{% endfor %}
