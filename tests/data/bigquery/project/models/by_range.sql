{{ config(materialized='table', partition_by={'field': 'id', 'data_type': 'int64', 'range': {'start': 0, 'end': 100, 'interval': 10}}, resource_tags={'p/env': 'prod'}, enable_change_history=true) }}
select * from {{ ref('stg_orders') }}
