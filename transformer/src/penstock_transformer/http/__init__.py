"""The transformer's HTTP ways in: predict, prediction by record id, and records.

    body (JSON, CSV, form, image) or record id -> rows -> Transformer.predict -> answer

A way in translates and decides nothing: what a row may hold is the bundle's matter, what happens to it the pipeline's.
"""
