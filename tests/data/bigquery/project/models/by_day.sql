{{ config(materialized='table', partition_by={'field': 'Day', 'data_type': 'date'}, cluster_by='id', labels={'cost': 'high'}) }}
select * from {{ ref('stg_orders') }}
