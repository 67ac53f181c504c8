select
    account_id,
    livemode,
    policy_hash,
    'local' as basis,
    month,
    currency,
    customer_id,
    subscription_id,
    item_id,
    product_id,
    price_id,
    interval,
    quantity,
    status,
    mrr_gross,
    (mrr_gross - mrr_net)::bigint as discount,
    mrr_net,
    case source when 'event' then 'exact' when 'snapshot' then 'day' else 'reconstructed' end as history_quality,
    case when source = 'invoice' then 'before the first event or reading; taken from invoice lines' end
        as reconstruction_reason
from {{ ref('int_mrr_item_month') }}
where mrr_gross > 0
