"""KServe's protocol v1 on a transformer: an instance is a row of raw features, and its prediction is that of the predict route.

    {"instances": [{feature: value}]} -> rows -> Transformer.predict -> {"predictions": [{label, scores, …}]}

A bundle without features has no rows: its instances are the model's own input, answered by core's handler.
"""

from penstock.errors import ErrorKind, InvalidInput, PenstockError
from penstock.protocol import v1
from penstock.protocol.limits import Limits
from penstock.protocol.wording import describe
from penstock.serving.context import read_context
from penstock.serving.exchange import Exchange, HotHandler
from penstock.serving.infer import predict_handler, refuse_encoding
from penstock_transformer.http.answers import ExchangeReply, dumped
from penstock_transformer.http.several import TransformerPlane
from penstock_transformer.requests import PredictRequest, PredictResponse


def instances_handler(transformer: TransformerPlane, limits: Limits) -> HotHandler:
    """The handler of `POST /v1/models/{model}:predict`."""
    tensors = predict_handler(transformer, limits)

    def handle(exchange: Exchange) -> None:
        model = exchange.params[0]
        if transformer.plan(model) is None:
            tensors(exchange)
            return
        context = read_context(exchange)
        if b"content-encoding" in exchange.headers:
            refuse_encoding(exchange)
        instances = v1.decode_instances(exchange.body, limits=limits)
        for at, instance in enumerate(instances):
            if not isinstance(instance, dict):
                raise InvalidInput(f"expected an object of feature to value, got {describe(instance)}", field=f"instances[{at}]")
        transformer.predict(PredictRequest(model, context, rows=instances), InstancesReply(exchange, model))

    return handle


class InstancesReply(ExchangeReply):
    """Answers as v1 does: predictions alone, and faults named by instance."""

    __slots__ = ()

    def error(self, error: PenstockError) -> None:
        if error.kind is ErrorKind.INVALID_INPUT and error.field is not None and error.field.startswith("rows["):
            error = InvalidInput(error.message, field="instances" + error.field.removeprefix("rows"))
        super().error(error)

    def body(self, response: PredictResponse) -> bytes:
        return dumped({"predictions": response.predictions})
