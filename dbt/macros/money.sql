{#- Half up to a whole minor unit of numerator / denominator, both HUGEINT, denominator positive: exact, never floating.
    Half up means away from zero for negative amounts too. -#}
{% macro round_half_up(numerator, denominator) -%}
    (sign({{ numerator }}) * ((2 * abs({{ numerator }}) + {{ denominator }}) // (2 * {{ denominator }})))::bigint
{%- endmacro %}

{#- sum(BIGINT) is HUGEINT, which other engines store as floating point. -#}
{% macro total(expression) -%}
    coalesce(sum({{ expression }}), 0)::bigint
{%- endmacro %}

{#- An amount in minor units as text in major units, with the currency's own number of decimals. -#}
{% macro major_text(amount, exponent, currency) -%}
    format(
        '{}{:,}{} {}',
        case when {{ amount }} < 0 then '-' else '' end,
        (abs({{ amount }}) // pow(10, {{ exponent }})::bigint)::bigint,
        case
            when {{ exponent }} > 0
                then '.' || lpad((abs({{ amount }}) % pow(10, {{ exponent }})::bigint)::varchar, {{ exponent }}, '0')
            else ''
        end,
        upper({{ currency }})
    )
{%- endmacro %}
