select
    a.account_id,
    a.livemode,
    a.name,
    a.country,
    coalesce(nullif('{{ env_var("LEDGERLINE_CURRENCY", "") | lower }}', ''), a.default_currency) as reporting_currency,
    a.synced_until as as_of
from {{ source('sync', 'accounts') }} as a
