select
    departure.pier_name || ' – ' || arrival.pier_name as route,
    crossings.sailed_on,
    count(*) as crossings,
    sum(crossings.passengers) as passengers,
    round(sum(crossings.passengers) / sum(crossings.seats), 2) as share_of_seats_taken,
    round(count(*) filter (where crossings.minutes_late <= 5) / count(*), 2) as share_on_time
from {{ ref('fct_crossings') }} as crossings
inner join {{ ref('piers') }} as departure on crossings.from_pier_id = departure.pier_id
inner join {{ ref('piers') }} as arrival on crossings.to_pier_id = arrival.pier_id
group by all
order by route, sailed_on
