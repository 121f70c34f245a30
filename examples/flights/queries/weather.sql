-- Hourly observations of December 2013, as a feed would have brought them. Two keys: the airport and the hour, YYYYMMDDHH in UTC.
SELECT origin,
       CAST(strftime('%Y%m%d%H', time_hour) AS INTEGER) AS hour,
       temp, humid, wind_speed, precip, pressure, visib,
       time_hour AS event_timestamp
FROM weather
WHERE time_hour >= '2013-12-20'
