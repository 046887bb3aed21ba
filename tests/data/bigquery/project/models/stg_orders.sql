{{ config(materialized='view') }}
select id, day, 'paid' as state from {{ ref('raw_orders') }}
