/**
 * A tensor of data. `shape` is one axis if it is not given; `datatype` follows from the array's type (arrays of strings are
 * BYTES, arrays of booleans BOOL), but for FP16 in a Uint16Array and BOOL in a Uint8Array, which say so.
 * @param {Numbers | Texts | boolean[]} data
 * @param {number[]} [shape]
 * @param {Datatype} [datatype]
 * @returns {Tensor}
 */
export function tensor(data: Numbers | Texts | boolean[], shape?: number[], datatype?: Datatype): Tensor;
/**
 * Throws invalid_input if a tensor's data does not fit its datatype and shape.
 * @param {Tensor} given
 * @param {string} name
 */
export function check(given: Tensor, name: string): void;
/**
 * A tensor's binary form: little-endian, row-major; each of BYTES behind a u32 length.
 * @param {Tensor} given
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function packed(given: Tensor): Uint8Array<ArrayBuffer>;
/**
 * A tensor out of its binary form. Throws upstream_unavailable if the bytes are not those of the shape.
 * @param {Datatype} datatype
 * @param {number[]} shape
 * @param {Uint8Array} bytes
 * @returns {Tensor}
 */
export function unpacked(datatype: Datatype, shape: number[], bytes: Uint8Array): Tensor;
/**
 * A tensor's data as JSON text, flat; NaN and infinities are null, integers keep all their digits.
 * @param {Tensor} given
 * @param {string} name
 */
export function jsonOf(given: Tensor, name: string): string;
/**
 * A tensor out of the JSON of an answer. 64-bit integers above 2^53 have lost digits there: ask for binary.
 * @param {Datatype} datatype
 * @param {number[]} shape
 * @param {any} data flat or nested
 * @returns {Tensor}
 */
export function ofJson(datatype: Datatype, shape: number[], data: any): Tensor;
export type Numbers = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array | Uint32Array | BigUint64Array;
export type Datatype = "BOOL" | "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64" | "FP16" | "FP32" | "FP64" | "BYTES";
export type Texts = (string | Uint8Array)[];
export type Tensor = {
    datatype: Datatype;
    shape: number[];
    /**
     * row-major
     */
    data: Numbers | Texts;
};
