select * from {{ ref('voyages') }} join {{ ref('voyages', v=1) }} using (id)
