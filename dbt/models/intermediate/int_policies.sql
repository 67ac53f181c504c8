select
    a.account_id,
    a.livemode,
    p.*,
    left(md5(to_json(p)::varchar || '{{ var("timezone") }}'), 12) as policy_hash
from {{ ref('metric_policies') }} as p
cross join {{ ref('int_accounts') }} as a
where p.profile = 'default'
