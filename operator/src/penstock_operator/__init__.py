"""Penstock's operator: ModelVersion resources to InferenceServices and routes. Its first release comes with the chart."""
