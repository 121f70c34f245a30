"""Values of a request, a file or a store to a `Column` of the feature's type; a value of another type is refused by row and name.

What counts as which type:

- string: str, without lone surrogates. Nothing else is turned into text.
- bool: true and false. int32, int64: integers in range, exactly; a float without a fraction, up to 2**53, counts too (data frames
  turn integers into floats beside missing values); true is not 1, and "3" is not 3.
- float32, float64: numbers, not bools; one too large for the type is refused, infinities are themselves.
- timestamp: seconds since the epoch, an ISO 8601 string (without an offset: UTC), or a datetime (naive: UTC).
- image: bytes, or a str of base64. `list<T>`: lists of the above, without gaps, at most `length` long.

None is missing everywhere; NaN is for numbers and timestamps. The common case, a list of one exact Python type, costs one pass
for the types and one for the array; only a list that is not plain is walked value by value.
"""

import base64
import binascii
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import FEATURE_DTYPES, Column
from penstock.errors import InvalidInput
from penstock.features.parameters import describe
from penstock.tensors import Array

_NONE = type(None)
_TEXT = {str}
_PLAIN: dict[str, frozenset[type]] = {
    "string": frozenset((str,)),
    "bool": frozenset((bool,)),
    "int32": frozenset((int,)),
    "int64": frozenset((int,)),
    "float32": frozenset((float, int)),
    "float64": frozenset((float, int)),
    "timestamp": frozenset((float, int)),
}
_PLACEHOLDERS: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "image": b""}
_FIRST_S, _LAST_S = -62135596800.0, 253402300799.999


def column_of(values: list[Any], feature_type: str, name: str, *, length: int | None = None) -> Column:
    """A column of a list of Python values, one a row. Raises InvalidInput for field `rows[i].name`."""
    if feature_type.startswith("list<"):
        return _list_column(values, feature_type[5:-1], name, length)
    types = set(map(type, values))
    gaps = _NONE in types
    if gaps:
        types.discard(_NONE)
    if types <= _PLAIN.get(feature_type, frozenset()):
        try:
            column = _plain_column(values, feature_type, gaps)
        except (OverflowError, UnicodeEncodeError):
            column = None
        if column is not None:
            return column
    return _walked_column(values, feature_type, name)


def _plain_column(values: list[Any], feature_type: str, gaps: bool) -> Column | None:
    """The column of values that all have a plain type, or None if one of them is out of range."""
    dtype = FEATURE_DTYPES[feature_type]
    if dtype.kind == "f":
        array: Array = np.array(values, np.float64)
        if dtype == np.float32:
            with np.errstate(over="ignore"):
                narrow = array.astype(np.float32)
            if np.isinf(narrow).any() and not np.array_equal(np.isinf(narrow), np.isinf(array)):
                return None
            array = narrow
        elif feature_type == "timestamp" and not _in_calendar(array):
            return None
        return Column(array, np.isnan(array))
    if gaps:
        missing = np.array([value is None for value in values])
        placeholder = _PLACEHOLDERS[feature_type]
        values = [placeholder if value is None else value for value in values]
    else:
        missing = np.zeros(len(values), np.bool_)
    if feature_type == "string":
        "".join(values).encode()
        array = np.empty(len(values), object)
        array[:] = values
        return Column(array, missing)
    return Column(_integers(values, dtype) if dtype.kind == "i" else np.array(values, dtype), missing)


def _in_calendar(seconds: Array) -> bool:
    return not bool(((seconds < _FIRST_S) | (seconds > _LAST_S)).any())


def _integers(values: list[int], dtype: np.dtype[Any]) -> Array:
    wide = np.array(values, np.int64)
    if dtype == np.int32 and wide.size and not -(2**31) <= int(wide.min()) <= int(wide.max()) < 2**31:
        raise OverflowError
    return wide.astype(dtype, copy=False)


def _walked_column(values: list[Any], feature_type: str, name: str) -> Column:
    convert = _CONVERTERS[feature_type]
    missing = np.zeros(len(values), np.bool_)
    placeholder = _PLACEHOLDERS.get(feature_type, math.nan)
    array = np.empty(len(values), FEATURE_DTYPES[feature_type])
    for row, value in enumerate(values):
        if _is_missing(value, feature_type):
            missing[row] = True
            array[row] = placeholder
            continue
        try:
            array[row] = convert(value, feature_type)
        except InvalidInput as error:
            raise InvalidInput(error.message, field=f"rows[{row}].{name}") from None
    return Column(array, missing)


def _is_missing(value: Any, feature_type: str) -> bool:
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return feature_type not in ("string", "bool", "image") and math.isnan(value)
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return type(value).__name__ in ("NAType", "NaTType")


def _text(value: Any, _: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"expected text, got {describe(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput("expected text that UTF-8 can hold, got a lone surrogate") from None
    return str(value)


def _bool(value: Any, _: str) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InvalidInput(f"expected true or false, got {describe(value)}")
    return bool(value)


def _integer(value: Any, feature_type: str) -> int:
    bits = 32 if feature_type == "int32" else 64
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) <= 2**53:
        value = int(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise InvalidInput(f"expected an integer, got {describe(value)}")
    if not -(2 ** (bits - 1)) <= int(value) < 2 ** (bits - 1):
        raise InvalidInput(f"expected an integer of {bits} bits, got {describe(value)}")
    return int(value)


def _float(value: Any, feature_type: str) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, float | int | np.floating | np.integer):
        raise InvalidInput(f"expected a number, got {describe(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    too_large = math.isinf(number) and not isinstance(value, float | np.floating)
    if feature_type == "float32" and math.isfinite(number):
        with np.errstate(over="ignore"):
            too_large = bool(np.isinf(np.float32(number)))
    if too_large:
        raise InvalidInput(f"expected a number that {feature_type} can hold, got {describe(value)}")
    return number


def _timestamp(value: Any, _: str) -> float:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInput(f"expected a time such as 2026-01-31T12:00:00Z, got {describe(value)}") from None
    if isinstance(value, np.datetime64):
        seconds = float(value.astype("datetime64[us]").astype(np.int64)) / 1e6
    elif isinstance(value, datetime):
        seconds = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, bool | np.bool_) or not isinstance(value, float | int | np.floating | np.integer):
        raise InvalidInput(f"expected seconds since 1970 or a time such as 2026-01-31T12:00:00Z, got {describe(value)}")
    else:
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
    if not _FIRST_S <= seconds <= _LAST_S:
        raise InvalidInput(f"expected a time in the years 1 to 9999, got {describe(value)}")
    return seconds


def _image(value: Any, _: str) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise InvalidInput(f"expected an image as base64, got {describe(value)}")
    try:
        return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("expected an image as base64") from None


_CONVERTERS: dict[str, Callable[[Any, str], Any]] = {
    "string": _text,
    "bool": _bool,
    "int32": _integer,
    "int64": _integer,
    "float32": _float,
    "float64": _float,
    "timestamp": _timestamp,
    "image": _image,
}


def _list_column(values: list[Any], element: str, name: str, length: int | None) -> Column:
    array = np.empty(len(values), object)
    missing = np.zeros(len(values), np.bool_)
    for row, value in enumerate(values):
        field = f"rows[{row}].{name}"
        if value is None:
            missing[row] = True
            value = []
        if not isinstance(value, list | tuple | np.ndarray):
            raise InvalidInput(f"expected a list, got {describe(value)}", field=field)
        if length is not None and len(value) > length:
            raise InvalidInput(f"expected at most {length} elements, got {len(value)}", field=field)
        array[row] = _elements(list(value), element, field)
    return Column(array, missing)


def _elements(values: list[Any], element: str, field: str) -> Array:
    try:
        column = column_of(values, element, "")
    except InvalidInput as error:
        position = (error.field or "rows[0]").removeprefix("rows").rstrip(".")
        raise InvalidInput(error.message, field=field + position) from None
    if element not in ("float32", "float64") and column.missing.any():
        raise InvalidInput("expected a value, got nothing", field=f"{field}[{int(column.missing.argmax())}]")
    return column.values


def column_from_array(array: Array | list[Any], feature_type: str, name: str, *, length: int | None = None) -> Column:
    """A column of a numpy array `[rows]` (or anything that `np.asarray` takes, such as a data frame's column).

    Arrays of the feature's own dtype are taken as they are; integers and floats widen where nothing is lost; everything else is
    walked by value, under the rules of `column_of`. datetime64 arrays become timestamps, NaT missing.
    """
    if isinstance(array, list) and feature_type.startswith("list<"):
        return column_of(array, feature_type, name, length=length)
    array = np.asarray(array)
    dtype = FEATURE_DTYPES.get(feature_type)
    if array.dtype is dtype and dtype.kind == "f" and feature_type != "timestamp":
        # A dtype of numpy's own is one object: the usual case of bulk, decided by one look.
        return Column(array, np.isnan(array))
    if feature_type == "timestamp" and array.dtype.kind == "M":
        missing: npt.NDArray[np.bool_] = np.isnat(array)
        micros = array.astype("datetime64[us]").astype(np.int64).astype(np.float64)
        seconds = np.where(missing, np.nan, micros / 1e6)
        return Column(seconds, missing) if _in_calendar(seconds) else _walked_column(list(array), feature_type, name)
    if dtype is not None and dtype.kind != "O" and _widens(array.dtype, dtype) and feature_type != "timestamp":
        taken = array.astype(dtype, copy=False)
        return Column(taken, np.isnan(taken) if dtype.kind == "f" else np.zeros(len(taken), np.bool_))
    if array.ndim == 2 and feature_type.startswith("list<"):
        return column_of(list(array), feature_type, name, length=length)
    values = array.tolist()
    if array.dtype == object and not (feature_type == "string" and set(map(type, values)) == _TEXT):
        # Data frames say NaN for what is missing, in columns of text too.
        values = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    return column_of(values, feature_type, name, length=length)


def _widens(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    if wanted.kind == "f" and given.kind == "b":
        return False
    return given == wanted or (given.kind in "iuf" and wanted.kind in "if" and np.can_cast(given, wanted, "safe"))
