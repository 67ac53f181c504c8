select * from {{ ref('fct_mrr_item_month') }} where mrr_net < 0 or mrr_gross < mrr_net
