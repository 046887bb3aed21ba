{{ config(materialized='view', hours_to_expiration=2, schema='docs', alias='shown') }}
select * from {{ ref('orders') }}
