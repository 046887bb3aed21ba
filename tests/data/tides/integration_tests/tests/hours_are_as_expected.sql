select * from {{ ref("tide_hours") }} where hours <> expected_hours
