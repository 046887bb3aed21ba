-- The coast guard fines the line for every passenger beyond the seats.
select *
from {{ ref('fct_crossings') }}
where passengers > seats
