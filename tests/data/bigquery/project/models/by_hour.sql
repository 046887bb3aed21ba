{{ config(materialized='table', partition_by={'field': 'loaded', 'data_type': 'timestamp', 'granularity': 'hour'}, labels_from_meta=true, meta={'owner': 'ops'}) }}
select *, current_timestamp() as loaded from {{ ref('stg_orders') }}
