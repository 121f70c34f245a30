"""The encodings, by the name that `features.yaml` gives them. One file each: definition, operators, fit, and documentation.

A new encoding is a module here, a line in this table and a case in its property test.
"""

from penstock.features.encodings.bucketise import Bucketise
from penstock.features.encodings.cast import Cast
from penstock.features.encodings.clip import Clip
from penstock.features.encodings.embedding_index import EmbeddingIndex
from penstock.features.encodings.encoding import Encoding
from penstock.features.encodings.image import Image
from penstock.features.encodings.log1p import Log1p
from penstock.features.encodings.min_max import MinMax
from penstock.features.encodings.multi_hot import MultiHot
from penstock.features.encodings.ngram_counts import NgramCounts
from penstock.features.encodings.one_hot import OneHot
from penstock.features.encodings.ordinal import Ordinal
from penstock.features.encodings.pairs import Difference, Product, Ratio
from penstock.features.encodings.passthrough import Passthrough
from penstock.features.encodings.quantile_map import QuantileMap
from penstock.features.encodings.robust_scale import RobustScale
from penstock.features.encodings.standardise import Standardise
from penstock.features.encodings.target_encoding import TargetEncoding
from penstock.features.encodings.tf_idf import TfIdf
from penstock.features.encodings.timestamps import TimestampCycles, TimestampParts
from penstock.features.encodings.tokenise import Tokenise
from penstock.features.encodings.words import Words

ENCODINGS: dict[str, type[Encoding]] = {
    encoding.kind: encoding
    for encoding in (
        Passthrough,
        Cast,
        Standardise,
        MinMax,
        RobustScale,
        Clip,
        Log1p,
        Bucketise,
        QuantileMap,
        OneHot,
        MultiHot,
        Ordinal,
        EmbeddingIndex,
        TargetEncoding,
        TimestampParts,
        TimestampCycles,
        Difference,
        Product,
        Ratio,
        Words,
        NgramCounts,
        TfIdf,
        Tokenise,
        Image,
    )
}
