{#- The start of the billing period that holds an instant, or with `later` the first start at or after it. Periods have
    `count` times `unit` and are counted from an anchor, as Stripe counts them:
    https://docs.stripe.com/billing/subscriptions/billing-cycle -#}
{% macro period_start(anchor, unit, count, instant, later=false) -%}
    {%- set months = '(' ~ count ~ " * case " ~ unit ~ " when 'year' then 12 else 1 end)" -%}
    {%- set micros = '(' ~ count ~ " * case " ~ unit ~ " when 'week' then 604800000000 else 86400000000 end)" -%}
    {%- set by_month = "floor(datediff('month', " ~ anchor ~ ', ' ~ instant ~ ') / ' ~ months ~ ')::bigint' -%}
    {%- set moment = anchor ~ ' + to_months((' ~ months ~ ' * (' ~ by_month ~ '))::integer)' -%}
    {%- set before = anchor ~ ' + to_months((' ~ months ~ ' * (' ~ by_month ~ ' - 1))::integer)' -%}
    {%- set after = anchor ~ ' + to_months((' ~ months ~ ' * (' ~ by_month ~ ' + 1))::integer)' -%}
    {%- set by_day = 'floor((epoch_us(' ~ instant ~ ') - epoch_us(' ~ anchor ~ ')) / ' ~ micros ~ ')::bigint' -%}
    {%- set on_day = anchor ~ ' + to_microseconds(' ~ micros ~ ' * ' ~ by_day ~ ')' -%}
    case
        when {{ unit }} in ('month', 'year')
            then
                {%- if later %}
                    case when {{ moment }} >= {{ instant }} then {{ moment }} else {{ after }} end
                {%- else %}
                    case when {{ moment }} <= {{ instant }} then {{ moment }} else {{ before }} end
                {%- endif %}
        else
            {%- if later %}
                case when {{ on_day }} >= {{ instant }} then {{ on_day }}
                else {{ on_day }} + to_microseconds({{ micros }}) end
            {%- else %}
                {{ on_day }}
            {%- endif %}
    end
{%- endmacro %}
