{{ config(severity='warn', tags='sing') }} select * from {{ ref('orders') }} where {{ ref('stg_orders') }} is null
