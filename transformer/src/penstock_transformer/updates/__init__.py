"""Feature updates: events on `<feature set>.updates` become rows of the online store, each as of its own time.

    Record --UpdateReader--> RowWrite --StoreUpdating, batches--> FeatureStore.write (compare-and-set on the event time)
                 |                                                      |
                 +--> dead letter with reason and field                 +--> the offset, committed after the write

The worker's machine and shell carry it (`worker.shell`): an update is to them what a prediction is, with nothing to be produced.
"""
