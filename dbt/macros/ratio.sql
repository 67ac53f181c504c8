{#- numerator / denominator as a decimal with some places, rounded half up; null when the denominator is 0. -#}
{% macro ratio(numerator, denominator, places=6) -%}
    case
        when ({{ denominator }}) <> 0
            then (
                {{ round_half_up(
                    '(' ~ numerator ~ ')::hugeint * ' ~ 10 ** places, '(' ~ denominator ~ ')::hugeint'
                ) }}::decimal(18, 0) * {{ '%.*f' % (places, 10 ** -places) }}::decimal(18, {{ places }})
            )::decimal(18, {{ places }})
    end
{%- endmacro %}
