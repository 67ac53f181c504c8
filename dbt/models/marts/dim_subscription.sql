select
    account_id,
    livemode,
    id as subscription_id,
    customer as customer_id,
    currency,
    status,
    start_date as started_at,
    trial_end as trial_ends_at,
    cancel_at_period_end,
    canceled_at,
    ended_at,
    cancellation_details ->> '$.reason' as cancellation_reason,
    cancellation_details ->> '$.feedback' as cancellation_feedback,
    metadata
from {{ ref('stg_stripe__subscriptions') }}
