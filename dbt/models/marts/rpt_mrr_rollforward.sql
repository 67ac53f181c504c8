with moved as (
    select
        account_id,
        livemode,
        policy_hash,
        basis,
        currency,
        month,
        {{ total('opening') }} as opening,
        {{ total("movement_amount") }} as movement,
        coalesce(sum(movement_amount) filter (where movement_type = 'new'), 0)::bigint as new_amount,
        coalesce(sum(movement_amount) filter (where movement_type = 'expansion'), 0)::bigint as expansion,
        coalesce(sum(movement_amount) filter (where movement_type = 'contraction'), 0)::bigint as contraction,
        coalesce(sum(movement_amount) filter (where movement_type = 'churn'), 0)::bigint as churn,
        coalesce(sum(movement_amount) filter (where movement_type = 'reactivation'), 0)::bigint as reactivation,
        {{ total('fx_amount') }} as fx,
        {{ total('mrr_net') }} as closing,
        count(*) filter (where opening > 0) as customers_opening,
        count(*) filter (where mrr_net > 0) as customers_closing,
        count(*) filter (where movement_type = 'new') as customers_new,
        count(*) filter (where movement_type = 'churn') as customers_churned
    from {{ ref('fct_mrr_customer_month') }}
    group by account_id, livemode, policy_hash, basis, currency, month
)

select * exclude (movement) from moved
