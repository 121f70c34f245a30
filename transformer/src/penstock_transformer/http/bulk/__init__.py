"""Bulk predict: bodies of any length, read as they arrive and answered as answers are ready, in bounded memory both ways.

    chunks -> RowReader (NDJSON, CSV, Arrow, JSON) -> Batch -> resolve (a few in flight) -> AnswerWriter (NDJSON, Arrow, events)

There is one way of streaming for every form: a reader that turns chunks into batches, a writer that turns answers into bytes, and
the run between them, which reads no further than its batches in flight allow. A client that does not read its answers stops the
reading of its own rows.
"""
