{#- The instant at which a reporting day or month begins, as TIMESTAMPTZ. -#}
{% macro starts_at(day) -%}
    (({{ day }})::timestamp at time zone '{{ var("timezone") }}')
{%- endmacro %}

{#- The reporting day of an instant. -#}
{% macro day_of(instant) -%}
    ({{ instant }} at time zone '{{ var("timezone") }}')::date
{%- endmacro %}

{% macro month_of(instant) -%}
    date_trunc('month', {{ instant }} at time zone '{{ var("timezone") }}')::date
{%- endmacro %}
