select
    a.account_id,
    a.livemode,
    a.name,
    a.country,
    coalesce(nullif('{{ var("currency") }}', ''), a.default_currency) as reporting_currency,
    a.synced_until as as_of
from {{ source('sync', 'accounts') }} as a
