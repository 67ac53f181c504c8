-- Policies of an account: its own, or those that hold for every account without own ones.
select
    a.account_id,
    a.livemode,
    p.* exclude (account_id, reporting_currency),
    coalesce(p.reporting_currency, a.reporting_currency) as reporting_currency,
    a.as_of
from {{ ref('int_accounts') }} as a
inner join {{ source('sync', 'metric_policies') }} as p
    on
        p.account_id = a.account_id
        or (
            p.account_id is null
            and not exists (
                select 1 from {{ source('sync', 'metric_policies') }} as own where own.account_id = a.account_id
            )
        )
