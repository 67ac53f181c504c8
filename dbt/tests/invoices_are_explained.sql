-- one invoice that is not explained is an exception for a person; it does not stop everyone else's numbers
{{ config(severity='warn') }}
select * from {{ ref('fct_invoice_settlement') }} where difference <> 0
