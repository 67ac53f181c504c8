{#- The instant at which a reporting day or month begins, as TIMESTAMPTZ. -#}
{% macro starts_at(day, timezone=none) -%}
    (({{ day }})::timestamp at time zone {{ timezone or "'" ~ var("timezone") ~ "'" }})
{%- endmacro %}

{#- The reporting day of an instant. -#}
{% macro day_of(instant, timezone=none) -%}
    ({{ instant }} at time zone {{ timezone or "'" ~ var("timezone") ~ "'" }})::date
{%- endmacro %}

{% macro month_of(instant, timezone=none) -%}
    date_trunc('month', {{ instant }} at time zone {{ timezone or "'" ~ var("timezone") ~ "'" }})::date
{%- endmacro %}
