select 'HAM' as port, date '2026-01-02' as planned, date '2026-01-04' as actual
