-- The schedule of the days around Christmas 2013, as it was known two hours before each departure. The tail number is the one assigned.
SELECT printf('%04d%02d%02d-%s-%d-%s', year, month, day, carrier, flight, origin) AS flight_id,
       carrier, origin, dest, tailnum, distance,
       printf('%04d-%02d-%02dT%02d:%02d:00Z', year, month, day, hour, minute) AS departs,
       CAST(strftime('%Y%m%d%H', time_hour, '-2 hours') AS INTEGER) AS hour_utc,
       strftime('%Y-%m-%dT%H:%M:%SZ', time_hour, '-2 hours') AS event_timestamp
FROM flights
WHERE month = 12 AND day BETWEEN 22 AND 26
