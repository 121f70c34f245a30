"""The hot routes of predictions, to be added to a transformer's others."""

from penstock.serving.routes import HotRoute, HotRoutes
from penstock_transformer.predictions.http.documentation import SHOW, SUBMIT
from penstock_transformer.predictions.http.ways import PredictionWays


def prediction_routes(ways: PredictionWays) -> HotRoutes:
    """`POST /models/{m}/predictions` and `GET /predictions/{id}`."""
    return HotRoutes(
        [
            HotRoute("POST", "/models/{model}/predictions", ways.post, "Predict later: answers an id at once", SUBMIT),
            HotRoute("GET", "/predictions/{prediction_id}", ways.show, "A prediction", SHOW, rest=False),
        ]
    )
