select
    account_id,
    livemode,
    policy_hash,
    month,
    count(*) as items,
    {{ ratio("count(*) filter (where history_quality = 'exact')", 'count(*)') }} as share_exact,
    {{ ratio("count(*) filter (where history_quality = 'day')", 'count(*)') }} as share_day,
    {{ ratio("count(*) filter (where history_quality = 'reconstructed')", 'count(*)') }} as share_reconstructed
from {{ ref('fct_mrr_item_month') }}
where basis = 'local'
group by account_id, livemode, policy_hash, month
