-- The fleet. A key (tailnum), the view's columns, and when the row became true.
SELECT tailnum, year AS built, seats, engines, '2013-01-01T00:00:00Z' AS event_timestamp
FROM planes
