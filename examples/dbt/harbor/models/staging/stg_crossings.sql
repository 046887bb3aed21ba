select
    crossing_id,
    vessel_id,
    from_pier as from_pier_id,
    to_pier as to_pier_id,
    cast(planned_departure as timestamp) as planned_departure_at,
    cast(actual_departure as timestamp) as actual_departure_at,
    coalesce(passengers, 0) as passengers,
    coalesce(cars, 0) as cars,
    lower(status) as status
from {{ source('ticketing', 'crossings') }}
