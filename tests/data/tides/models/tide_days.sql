select cast('{{ var("tides_first_day") }}' as date) + cast(number as integer) as day
from ({% for number in range(var("tides_days")) %}select {{ number }} as number{{ " union all " if not loop.last }}{% endfor %}) as numbers
