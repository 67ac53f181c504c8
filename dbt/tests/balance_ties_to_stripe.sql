-- the sum of all balance transactions is the balance that Stripe reports, per currency
select * from {{ ref('fct_stripe_balance_daily') }} where difference <> 0
