{#- numerator / denominator as a decimal with six places, rounded half up; null when the denominator is 0. -#}
{% macro ratio(numerator, denominator) -%}
    case
        when {{ denominator }} <> 0
            then (
                {{ round_half_up('(' ~ numerator ~ ')::hugeint * 1000000', '(' ~ denominator ~ ')::hugeint') }}::decimal(18, 0)
                * 0.000001::decimal(7, 6)
            )::decimal(18, 6)
    end
{%- endmacro %}
