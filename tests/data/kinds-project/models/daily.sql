{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='made_at', batch_size='day',
          begin='2026-01-01', lookback=0) }}
select id, made_at, {% if env_var('BROKEN_ID', '') %} case id when {{ env_var('BROKEN_ID') }} then cast('x' as int) end
{% else %} 1 {% endif %} as one from {{ ref('stage') }}
