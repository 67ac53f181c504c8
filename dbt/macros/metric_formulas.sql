{#- Rates of subscription metrics, for the marts and for worked cases alike. Losses are negative amounts. -#}

{% macro gross_churn_rate(contraction, churn, opening, places=6) -%}
    {{ ratio('-(' ~ contraction ~ ' + ' ~ churn ~ ')', opening, places) }}
{%- endmacro %}

{% macro net_churn_rate(contraction, churn, expansion, reactivation, opening, places=6) -%}
    {{ ratio('-(' ~ [contraction, churn, expansion, reactivation] | join(' + ') ~ ')', opening, places) }}
{%- endmacro %}

{#- What was gained per unit lost. `include_reactivation` is a column or true/false of the policy. -#}
{% macro quick_ratio(new, expansion, reactivation, contraction, churn, include_reactivation, places=6) -%}
    {{ ratio(
        new ~ ' + ' ~ expansion ~ ' + case when ' ~ include_reactivation ~ ' then ' ~ reactivation ~ ' else 0 end',
        '-(' ~ contraction ~ ' + ' ~ churn ~ ')', places
    ) }}
{%- endmacro %}

{#- The share of customers lost: of those at the start, or as Stripe counts of those and the new ones
    (https://support.stripe.com/questions/calculating-churn-rate-in-billing). -#}
{% macro logo_churn_rate(churned_of_start, customers_start, churned_of_new, new_in_period, formula, places=6) -%}
    case {{ formula }}
        when 'stripe_30d' then {{ ratio(
            churned_of_start ~ ' + ' ~ churned_of_new, customers_start ~ ' + ' ~ new_in_period, places
        ) }}
        else {{ ratio(churned_of_start, customers_start, places) }}
    end
{%- endmacro %}

{#- Average revenue per customer, in minor units; null without customers. -#}
{% macro arpa(closing, customers) -%}
    case
        when {{ customers }} > 0
            then {{ round_half_up('(' ~ closing ~ ')::hugeint', '(' ~ customers ~ ')::hugeint') }}
    end
{%- endmacro %}

{#- Lifetime value: ARPA over the share of customers lost, lost / start, times a gross margin where one is set. -#}
{% macro lifetime_value(closing, customers, lost, start, margin_numerator, margin_denominator) -%}
    case
        when {{ customers }} > 0 and {{ lost }} > 0
            then {{ round_half_up(
                '((' ~ closing ~ ')::hugeint * (' ~ start ~ ')::hugeint * coalesce(' ~ margin_numerator ~ ', 1))',
                '((' ~ customers ~ ')::hugeint * (' ~ lost ~ ')::hugeint * coalesce(' ~ margin_denominator ~ ', 1))'
            ) }}
    end
{%- endmacro %}

{% macro trial_conversion_rate(ended, started, converted_active, converted_paid, success, denominator, places=6) -%}
    {{ ratio(
        'case ' ~ success ~ " when 'active' then " ~ converted_active ~ ' else ' ~ converted_paid ~ ' end',
        'case ' ~ denominator ~ " when 'trials_started' then " ~ started ~ ' else ' ~ ended ~ ' end', places
    ) }}
{%- endmacro %}
