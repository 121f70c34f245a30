"""The transformer's hot routes: predict, prediction by record id, and the inference protocols over the same transformer."""

from penstock.serving.routes import HotRoute, HotRoutes
from penstock_transformer.http.documentation import GET_PREDICT, POST_PREDICT
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.http.plane import PredictPlane
from penstock_transformer.http.predict import PredictWays


def predict_routes(transformer: PredictPlane, limits: WayInLimits | None = None) -> HotRoutes:
    """The routes that only a transformer has."""
    ways = PredictWays(transformer, limits)
    return HotRoutes(
        [
            HotRoute("POST", "/models/{model}/predict", ways.post, "Predict for rows of features", POST_PREDICT),
            HotRoute("GET", "/predict/{record_id}", ways.get, "Predict for a stored record", GET_PREDICT),
        ]
    )
