select *
from {{ ref('route_days') }}
where share_of_seats_taken not between 0 and 1
   or share_on_time not between 0 and 1
