{#- What discounts leave of amounts, exactly. `amounts` are numerators (HUGEINT[]) over the common denominator `over`;
    `steps` are the discounts in order: `of` says which amounts they reduce; a percentage keeps `kept` / `whole` of
    them, an amount takes `off` / `per` from all together, in proportion, and never more than there is. The result is a
    struct of n (numerators) and d; null when whole numbers of 128 bits do not hold it. -#}
{% macro discounted(amounts, over, steps) -%}
    try(list_reduce(
        {{ steps }},
        lambda s, x: list_transform(
            [list_sum(list_transform(s.n, lambda v, i: case when x.of[i] then v else 0 end))::hugeint * x.per],
            lambda t: list_transform(
                [case
                    when x.off is null then {'a': x.kept, 'b': x.whole}
                    when t = 0 then {'a': 1::hugeint, 'b': 1::hugeint}
                    else {'a': greatest(t - x.off * s.d, 0::hugeint), 'b': t}
                end],
                lambda f: list_transform(
                    [{
                        'n': list_transform(s.n, lambda v, i: v * case when x.of[i] then f.a else f.b end),
                        'd': s.d * f.b
                    }],
                    lambda r: list_transform(
                        [list_reduce(r.n, lambda g, v: gcd(g, v), r.d)],
                        lambda g: {'n': list_transform(r.n, lambda v: v // g), 'd': r.d // g}
                    )[1]
                )[1]
            )[1]
        )[1],
        {'n': {{ amounts }}, 'd': {{ over }}}
    ))
{%- endmacro %}
