select pier, expected_hours, {{ tides.hours_between("came_at", "went_at") }} as hours
from {{ ref("high_waters") }}
