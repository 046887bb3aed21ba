{% snapshot history %}{{ config(unique_key='id', strategy='check', check_cols=['id']) }}select * from {{ ref('ports') }}{% endsnapshot %}
