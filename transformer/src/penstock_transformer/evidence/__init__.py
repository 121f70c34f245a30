"""What requests do to each bundle of the route, counted in this process: the sums behind `GET /evidence` and Prometheus."""
