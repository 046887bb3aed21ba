{{ config(materialized='table', tags=['nightly'], meta={'a': 1}, alias='ord', schema='mart') }}
select * from {{ source('raw', 'late') }} {% if is_incremental() %} where 1=1 {% endif %}
