{#- How a customer's MRR moved: `had_before` is true when it was positive in some earlier month. -#}
{% macro movement_type(opening, closing, had_before) -%}
    case
        when {{ opening }} = 0 and {{ closing }} > 0 and not ({{ had_before }}) then 'new'
        when {{ opening }} = 0 and {{ closing }} > 0 then 'reactivation'
        when {{ opening }} > 0 and {{ closing }} = 0 then 'churn'
        when {{ closing }} > {{ opening }} then 'expansion'
        when {{ closing }} < {{ opening }} then 'contraction'
    end
{%- endmacro %}
