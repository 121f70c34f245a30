"""The one package that knows ONNX Runtime: a model file in, a session that runs numpy arrays out.

    bytes or path -> external data checked -> providers chosen -> Session -> arrays

Used by the predictor (the model) and the transformer (the encoder). Nothing else in core imports it.
"""

from penstock.onnx.session import Session, load
from penstock.onnx.settings import Device, SessionSettings

__all__ = ["Device", "Session", "SessionSettings", "load"]
