{{ config(materialized='view', event_time='made_at') }}
select * from {{ ref('raw_orders') }}
