-- a payout whose batch Stripe has finished equals the sum of that batch
select * from {{ ref('fct_payout') }} where recon_status = 'mismatch'
