{{ config(materialized='incremental', unique_key='crossing_id') }}

select
    crossings.crossing_id,
    cast(crossings.planned_departure_at as date) as sailed_on,
    crossings.from_pier_id,
    crossings.to_pier_id,
    vessels.vessel_name,
    vessels.seats,
    crossings.planned_departure_at,
    crossings.passengers,
    crossings.cars,
    date_diff('minute', crossings.planned_departure_at, crossings.actual_departure_at) as minutes_late
from {{ ref('stg_crossings') }} as crossings
inner join {{ ref('stg_vessels') }} as vessels on crossings.vessel_id = vessels.vessel_id
where crossings.status = 'sailed'
{% if is_incremental() %}
    -- The last day is loaded again: ticket machines hand in corrections until midnight.
    and crossings.planned_departure_at >= (select max(sailed_on) from {{ this }})
{% endif %}
