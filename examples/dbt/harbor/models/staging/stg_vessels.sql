select
    vessel_id,
    vessel_name,
    seats,
    car_slots,
    in_service_since,
    status = 'in service' as is_in_service
from {{ ref('vessels') }}
