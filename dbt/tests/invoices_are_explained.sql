select * from {{ ref('fct_invoice_settlement') }} where difference <> 0
