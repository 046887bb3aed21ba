select ship, port, planned, actual from {{ source('harbour', 'arrivals') }}
