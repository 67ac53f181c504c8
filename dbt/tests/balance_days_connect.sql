select *
from {{ ref('fct_stripe_balance_daily') }}
qualify
    opening + activity + payouts <> closing
    or opening <> coalesce(lag(closing) over (partition by account_id, livemode, currency order by day), 0)
    or activity <> charges + refunds + disputes + fees + other
