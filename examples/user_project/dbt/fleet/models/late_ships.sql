select arrivals.ship, ports.name as port, arrivals.actual - arrivals.planned as days_late
from {{ ref('arrivals') }} as arrivals
join {{ ref('ports') }} as ports on ports.code = arrivals.port
where arrivals.actual > arrivals.planned
