{{ config(materialized='table', partition_by={'field': 'day', 'data_type': 'date', 'granularity': 'month'}, cluster_by=['id', 'state'], hours_to_expiration=24, kms_key_name='projects/p/k', require_partition_filter=true, partition_expiration_days=30) }}
select * from {{ ref('eph_paid') }}
