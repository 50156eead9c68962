"""TfIdfVectorizer against onnx's reference."""

from typing import Any

import numpy as np
import pytest

from mxc.errors import MxcError
from tests.passes.lowering.nodes import check, run_node

POOL: dict[str, Any] = {
    "ngram_counts": [0, 3, 7],
    "ngram_indexes": [2, 0, 1, 5, 4, 6],
    "pool_int64s": [1, 2, 3, 4, 5, 3, 3, 1, 2, 3],
    "weights": [0.5, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0],
}
X = np.random.default_rng(5).integers(0, 7, (3, 14)).astype(np.int32)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize(("low", "high", "skip"), [(1, 2, 0), (1, 3, 2), (2, 3, 4), (1, 1, 3)])
def test_counts(mode: str, low: int, high: int, skip: int) -> None:
    lengths = {"min_gram_length": low, "max_gram_length": high, "max_skip_count": skip}
    check("TfIdfVectorizer", [X], mode=mode, **lengths, **POOL)
    check("TfIdfVectorizer", [X[0].astype(np.int64)], mode=mode, **lengths, **POOL)


def test_refusals() -> None:
    lengths = {"min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0}
    with pytest.raises(MxcError, match="mode=BM25"):
        run_node("TfIdfVectorizer", [X], mode="BM25", **lengths, **POOL)
    words = {"ngram_counts": [0], "ngram_indexes": [0], "pool_strings": ["a"]}
    with pytest.raises(MxcError, match="strings"):
        run_node("TfIdfVectorizer", [X], mode="TF", **lengths, **words)
