select id, made_at, amount, {{ function('plus_tax') }}(amount) as gross from {{ ref('raw_orders') }}
