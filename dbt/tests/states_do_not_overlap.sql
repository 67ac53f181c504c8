select *
from {{ ref('int_subscription_item_states') }}
qualify valid_to > lead(valid_from) over (partition by account_id, livemode, item_id order by valid_from)
