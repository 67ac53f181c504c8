{#- How a payout stands against its batch. Only automatic payouts whose batch Stripe has finished can be compared:
    https://docs.stripe.com/payouts/reconciliation -#}
{% macro payout_status(status, automatic, reconciliation_status, amount, batch_net) -%}
    case
        when not {{ automatic }} then 'not_applicable'
        when {{ status }} in ('failed', 'canceled') then 'failed_reversed'
        when {{ reconciliation_status }} <> 'completed' then 'pending'
        when {{ amount }} = {{ batch_net }} then 'matched'
        else 'mismatch'
    end
{%- endmacro %}
