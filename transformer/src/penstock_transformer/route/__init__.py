"""Where the route comes from and how it is applied: a ConfigMap, a file, or what the one predictor holds."""
