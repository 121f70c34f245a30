-- Every flight that arrived in 2013, with what was known two hours before its scheduled departure, and whether it came late.
-- Nothing that happened later (departure delay, air time, arrival) is among the columns but the label itself.
SELECT f.carrier, f.origin, f.dest, f.tailnum, f.distance,
       printf('%04d-%02d-%02dT%02d:%02d:00Z', f.year, f.month, f.day, f.hour, f.minute) AS departs,
       p.year AS built, p.seats,
       w.temp, w.humid, w.wind_speed, w.precip, w.pressure, w.visib,
       f.month, f.arr_delay > 15 AS late
FROM flights f
LEFT JOIN weather w ON w.origin = f.origin AND w.time_hour = strftime('%Y-%m-%dT%H:%M:%SZ', f.time_hour, '-2 hours')
LEFT JOIN planes p ON p.tailnum = f.tailnum
WHERE f.arr_delay IS NOT NULL
ORDER BY f.time_hour, f.carrier, f.flight
