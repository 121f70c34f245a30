"""A session: one model, ready to run on numpy arrays.

ONNX Runtime's errors are wrapped here and nowhere else. What the model does not take is InvalidInput with the name of the input
at fault; the check costs nothing until a run fails, because only then is it made. What fails inside the device is Internal.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime as ort

from penstock.cpus import cpu_limit
from penstock.dataplane import TensorMetadata
from penstock.errors import Internal, InvalidInput
from penstock.onnx import providers
from penstock.onnx.exhaustion import OutOfMemory, is_exhaustion
from penstock.onnx.external import external_files, external_locations
from penstock.onnx.settings import SessionSettings
from penstock.onnx.weights import copied_weights
from penstock.tensors import DATATYPES, Array

log = logging.getLogger(__name__)

Axis = int | str | None
"""An axis of a signature: its length, its symbolic name, or None for one that varies without a name."""

_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64", "string": "BYTES",
}  # fmt: skip
# ONNX Runtime has no class for its errors' common base. These are the ones that a model file or a feed can cause.
_state = ort.capi.onnxruntime_pybind11_state
_ERRORS = tuple(
    getattr(_state, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NotImplemented", "NoSuchFile",
                 "RuntimeException", "EPFail", "ModelRequiresCompilation", "NotFound", "EngineError", "ModelLoaded")
    if hasattr(_state, name)
)  # fmt: skip
_DEVICE_TROUBLE = ("allocat", "memory", "CUDA", "CUDNN", "CUBLAS", "TensorRT")


def load(source: Path | bytes, settings: SessionSettings = SessionSettings()) -> "Session":  # noqa: B008 - frozen
    """Make a session from a model file or a serialised model (which then has no external data).

    Raises InvalidInput if it is not a model, needs what this runtime lacks, or names external data outside its directory or
    none that exists; or if the device asked for is not there. OutOfMemory if the device does not hold it.
    """
    name = source.name if isinstance(source, Path) else "model"
    external: tuple[str, ...] = ()
    if isinstance(source, Path):
        external = external_files(source)
    elif found := external_locations(source, name):
        raise InvalidInput(f"external data {found[0]!r} needs the model's directory, got the model alone", field=name)
    try:
        return Session(_make(source, settings, (), external), name, settings)
    except (*_ERRORS, MemoryError) as error:
        if is_exhaustion(error):
            raise OutOfMemory("the device's memory does not hold the model beside what is there") from error
        log.warning("model refused", extra={"model_file": name, "reason": str(error)})
        raise InvalidInput(f"not a model that this runtime takes: {_reason(error)}", field=name) from error


def _make(
    source: Path | bytes, settings: SessionSettings, inputs: Sequence[TensorMetadata], external: Sequence[str]
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads or cpu_limit()
    # Operators run one after the other: requests are what runs in parallel, and a second pool would fight the first.
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = settings.arena
    options.enable_mem_pattern = settings.memory_patterns
    # What fails comes back as an exception; printed as well, any caller could fill the log.
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spin else "0")
    chosen = providers.choose(settings, ort.get_available_providers(), inputs)
    if chosen[0][0] != providers.CPU and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    with copied_weights(source, external, options):
        made = ort.InferenceSession(
            str(source) if isinstance(source, Path) else source,
            options,
            providers=[p for p, _ in chosen],
            provider_options=[o for _, o in chosen],
        )
    # Without this a failed GPU run is repeated, by the library itself, on a new session on the CPU.
    made.disable_fallback()
    if settings.device in ("cuda", "tensorrt") and made.get_providers()[0] != chosen[0][0]:
        raise InvalidInput(f"{chosen[0][0]} did not start; ONNX Runtime offers {made.get_providers()[0]}", field="device")
    if settings.device == "auto" and made.get_providers()[0] != chosen[0][0]:
        log.warning("the GPU cannot be used, running on the CPU", extra={"wanted": chosen[0][0]})
    if settings.device == "tensorrt" and not inputs:
        signature = [_metadata(node) for node in made.get_inputs()]
        if any(-1 in tensor.shape for tensor in signature):
            return _make(source, settings, signature, external)
    return made


class Session:
    """A loaded model. `run` may be called from any thread, and from several at once.

    `inputs` and `outputs` are the signature, in the model's order; `input_axes` gives each input's axes with their symbolic
    names. Outputs that are not tensors (the lists of dictionaries of some converters) are left out of the signature and listed in
    `skipped_outputs`.
    """

    def __init__(self, session: ort.InferenceSession, name: str, settings: SessionSettings) -> None:
        self.name = name
        self.settings = settings
        self.threads = settings.threads or cpu_limit()
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self.on_cpu = all(provider == providers.CPU for provider in self.providers)
        self.inputs = tuple(_metadata(node) for node in session.get_inputs())
        tensors = [node for node in session.get_outputs() if node.type.startswith("tensor(")]
        self.outputs = tuple(_metadata(node) for node in tensors)
        self.skipped_outputs = tuple(node.name for node in session.get_outputs() if node not in tensors)
        if not self.outputs:
            raise InvalidInput("no output of the model is a tensor", field=name)
        self.input_axes: dict[str, tuple[Axis, ...]] = {node.name: tuple(node.shape) for node in session.get_inputs()}
        self._names = [output.name for output in self.outputs]
        self._expected = {tensor.name for tensor in self.inputs}
        self._session: ort.InferenceSession | None = session
        # The public run() checks what the binding checks again, at 2.5 us a call; the binding's own is the same call without.
        self._run: Callable[[Sequence[str], dict[str, Array], Any], list[Array]] = getattr(session, "_sess", session).run

    def run(self, feeds: dict[str, Array], outputs: Sequence[str] | None = None, *, shrink: bool = False) -> list[Array]:
        """Run the model on whole arrays; gives the outputs asked for (all by default) in that order. `shrink`: give the arena's
        memory back afterwards.

        `feeds` has every input by name, in its dtype; strings as object arrays of `str`. Raises InvalidInput naming the input
        that the model does not take; Internal if the device failed.
        """
        if feeds.keys() != self._expected:
            # Checked first: operators of ONNX Runtime differ in how they take an absent input.
            raise self._fault(feeds, outputs) or Internal("feeds")
        try:
            return self._run(self._names if outputs is None else outputs, feeds, self._shrinking() if shrink else None)
        except Exception as error:
            raise self.explain(error, feeds, outputs) from error

    def _shrinking(self) -> Any:
        options = ort.RunOptions()
        devices = "cpu:0" if self.on_cpu else f"gpu:{self.settings.device_id};cpu:0"
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", devices)
        return options

    def close(self) -> None:
        """Release the model's memory. A run after this raises Internal; one that is under way finishes."""
        self._run = _closed
        self._session = None

    def binding(self) -> Any:
        """An empty I/O binding of this session, for `penstock.onnx.binding`."""
        if self._session is None:
            raise Internal("the session is closed")
        return self._session.io_binding()

    def bound(self, binding: Any) -> Callable[[], None]:
        """A call that runs what was bound, for `penstock.onnx.binding`."""
        if self._session is None:
            raise Internal("the session is closed")
        native, inner = getattr(self._session, "_sess", None), getattr(binding, "_iobinding", None)
        if native is None or inner is None:
            return partial(self._session.run_with_iobinding, binding)
        return partial(native.run_with_iobinding, inner, None)

    def run_bound(self, binding: Any, *, shrink: bool = False) -> None:
        """Run what was bound, for `penstock.onnx.staging`. Raises what ONNX Runtime raises; `explain` says what it means."""
        if self._session is None:
            raise Internal("the session is closed")
        self._session.run_with_iobinding(binding, self._shrinking() if shrink else None)

    def explain(self, error: Exception, feeds: dict[str, Array], outputs: Sequence[str] | None) -> Exception:
        """What a run's exception means to callers: InvalidInput naming the input at fault, OutOfMemory, or Internal."""
        if isinstance(error, Internal):
            return error
        if is_exhaustion(error):
            log.warning("out of memory", extra={"model_file": self.name, "reason": _reason(error)})
            return OutOfMemory()
        wrong = self._fault(feeds, outputs)
        if wrong is not None:
            return wrong
        text = str(error)
        # Bound runs raise their failures as the plainest of errors.
        ran = isinstance(error, _ERRORS) or (type(error) is RuntimeError and "Non-zero status code" in text)
        if ran and not any(word in text for word in _DEVICE_TROUBLE):
            # The signature fits, an operator refused the values: an index out of range, lengths that disagree.
            return InvalidInput(f"the model cannot be run on these values: {_reason(error)}", field="inputs")
        log.error("run failed", extra={"model_file": self.name, "reason": text})
        return Internal("the model's run failed")

    def _fault(self, feeds: dict[str, Array], outputs: Sequence[str] | None) -> InvalidInput | None:
        for tensor in self.inputs:
            array = feeds.get(tensor.name)
            if array is None:
                return InvalidInput(f"missing; the model takes {', '.join(i.name for i in self.inputs)}", field=tensor.name)
            if array.dtype != DATATYPES[tensor.datatype].dtype:
                return InvalidInput(f"expected {tensor.datatype}, got {array.dtype}", field=tensor.name)
            if not fits(tensor.shape, array.shape):
                return InvalidInput(f"expected {list(tensor.shape)}, got {list(array.shape)}", field=f"{tensor.name}.shape")
        unknown = sorted(set(feeds) - {tensor.name for tensor in self.inputs})
        if unknown:
            return InvalidInput(f"not an input; the model takes {', '.join(i.name for i in self.inputs)}", field=unknown[0])
        missing = [name for name in outputs or () if name not in self._names]
        if missing:
            return InvalidInput(f"not an output; the model gives {', '.join(self._names)}", field=missing[0])
        return None


def fits(expected: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a shape is one that a signature allows: -1 stands for any length."""
    return len(expected) == len(shape) and all(e in (-1, s) for e, s in zip(expected, shape, strict=True))


def _metadata(node: Any) -> TensorMetadata:
    """Raises InvalidInput for a type that no protocol tensor can carry."""
    datatype = _DATATYPES.get(node.type.removeprefix("tensor(").removesuffix(")"))
    if datatype is None:
        raise InvalidInput(f"type {node.type} cannot be carried by the Open Inference Protocol", field=node.name)
    return TensorMetadata(node.name, datatype, tuple(axis if isinstance(axis, int) else -1 for axis in node.shape))


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without its code, paths and source positions: the part that helps a caller."""
    text = str(error).split(" : ", 3)[-1].split("\n")[0]
    for mark in ("Status Message: ", "failed:"):
        if mark in text:
            text = text.split(mark, 1)[1]
    words = (word for word in text.split() if not word.startswith(("/", "onnxruntime::")))
    return " ".join(words)[:300].strip()


def _closed(*_: object) -> list[Array]:
    raise Internal("the session is closed")
