{#- Schemas are exactly those of the contract, without the target's schema in front. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | default(target.schema, true) | trim }}
{%- endmacro %}

{#- Relations are written as schema.name, so that views also work where the file is attached under another name. -#}
{% macro ref() -%}
    {% set relation = builtins.ref(*varargs, **kwargs) %}
    {% do return(relation if relation.is_cte else relation.include(database=false)) %}
{%- endmacro %}

{% macro source() -%}
    {% set relation = builtins.source(*varargs, **kwargs) %}
    {% do return(relation if relation.is_cte else relation.include(database=false)) %}
{%- endmacro %}
