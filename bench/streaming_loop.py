"""The plain loop of `bench/streaming.py`: one record at a time, at least once.

python bench/streaming_loop.py BOOTSTRAP MODEL MODEL_FILE
"""

import sys

import numpy as np
import onnxruntime
import orjson
from confluent_kafka import Consumer, Producer


def main() -> None:
    bootstrap, model, file = sys.argv[1:]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    settings = {"bootstrap.servers": bootstrap, "log_level": 0}
    consumer = Consumer({**settings, "group.id": "loop", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    producer = Producer(settings)
    consumer.subscribe([f"{model}.requests"])
    while True:
        record = consumer.poll(1.0)
        if record is None or record.error():
            continue
        tensor = orjson.loads(record.value() or b"")["inputs"][0]
        values = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        (output,) = session.run(None, {name: values})
        answer = {"outputs": [{"name": "y", "datatype": "FP32", "shape": list(output.shape), "data": output.ravel().tolist()}]}
        producer.produce(f"{model}.predictions", orjson.dumps(answer), key=record.key())
        producer.flush()
        consumer.commit(record, asynchronous=False)


if __name__ == "__main__":
    main()
