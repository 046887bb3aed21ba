select * from {{ ref('orders') }} join {{ ref('shop', 'ports') }} using (id) -- {{ var('day') }}
