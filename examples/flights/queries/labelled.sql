-- What became of the flights in the store: rows for a training set. All features join them as they were at `event_timestamp`.
SELECT printf('%04d%02d%02d-%s-%d-%s', year, month, day, carrier, flight, origin) AS flight_id,
       strftime('%Y-%m-%dT%H:%M:%SZ', time_hour, '-2 hours') AS event_timestamp,
       arr_delay > 15 AS late
FROM flights
WHERE month = 12 AND day BETWEEN 22 AND 26 AND arr_delay IS NOT NULL
