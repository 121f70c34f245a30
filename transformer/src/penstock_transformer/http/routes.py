"""The transformer's hot routes: predict, prediction by record id, and the inference protocols over the same transformer."""

from penstock.protocol.limits import Limits
from penstock.serving.routes import HotRoute, HotRoutes, Streamed
from penstock_transformer.http.bulk.endpoint import BulkPredict
from penstock_transformer.http.bulk.forms import is_streamed
from penstock_transformer.http.documentation import GET_PREDICT, POST_PREDICT, V1_PREDICT
from penstock_transformer.http.instances import instances_handler
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.http.plane import PredictPlane
from penstock_transformer.http.predict import Later, PredictWays
from penstock_transformer.http.records import allow_imports
from penstock_transformer.http.several import TransformerPlane

# Never held in memory, so as large as they are; the number only keeps arithmetic finite.
BULK_BYTES = 1 << 50


def hot_routes(
    transformer: TransformerPlane,
    *,
    limits: Limits | None = None,
    ways: WayInLimits | None = None,
    later: Later | None = None,
) -> HotRoutes:
    """All that a transformer adds to the protocol's own routes (which `build_app` makes of the same transformer). `later`: who
    takes predict requests that are to be answered by an id."""
    routes = predict_routes(transformer, ways, later)
    v1 = instances_handler(transformer, limits or Limits())
    routes.add(HotRoute("POST", "/v1/models/{model}:predict", v1, "Predict for rows of features (KServe v1)", V1_PREDICT))
    allow_imports(routes)
    return routes


def predict_routes(transformer: PredictPlane, limits: WayInLimits | None = None, later: Later | None = None) -> HotRoutes:
    """The routes that only a transformer has."""
    ways = PredictWays(transformer, limits, later)
    bulk = Streamed(is_streamed, BulkPredict(transformer, limits or WayInLimits()), BULK_BYTES)
    return HotRoutes(
        [
            HotRoute(
                "POST",
                "/models/{model}/predict",
                ways.post,
                "Predict for rows of features",
                POST_PREDICT,
                streamed=bulk,
                early=True,
            ),
            HotRoute("GET", "/predict/{record_id}", ways.get, "Predict for a stored record", GET_PREDICT),
        ]
    )
