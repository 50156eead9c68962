"""Input arrays: exact validation, spelling of names, seeded random data."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mxc.errors import BadInput
from mxc.inputs import Port, match, random_inputs, read_npz, write_npz

X = Port("a/x", np.dtype(np.float32), (2, 3))
IDS = Port("ids", np.dtype(np.int64), (4,))
HALF = Port("h", np.dtype(ml_dtypes.bfloat16), (2,))


def arrays() -> dict[str, np.ndarray]:
    return {"a/x": np.ones((2, 3), np.float32), "ids": np.zeros(4, np.int64)}


def test_arrays_come_in_the_order_of_the_ports() -> None:
    ids, x = match((IDS, X), arrays())
    assert ids.shape == (4,)
    assert x.shape == (2, 3)


def test_a_slash_may_be_spelt_as_two_underscores() -> None:
    given = arrays()
    given["a__x"] = given.pop("a/x")
    assert match((X, IDS), given)[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": None}, "no array for 'ids'; the file has 'a/x'"),
        ({"extra": np.ones(1)}, "'extra' is no input of the model; inputs: 'a/x', 'ids'"),
        ({"ids": np.zeros(4, np.int32)}, r"'ids' is int32, the model wants int64\[4\]"),
        ({"a/x": np.ones((3, 2), np.float32)}, r"'a/x' has shape \[3, 2\], the model wants"),
    ],
)
def test_what_does_not_fit_is_an_error(change: dict[str, np.ndarray | None], message: str) -> None:
    given = {key: value for key, value in {**arrays(), **change}.items() if value is not None}
    with pytest.raises(BadInput, match=message):
        match((X, IDS), given)


def test_a_file_round_trips_with_the_same_bytes(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", arrays())
    write_npz(tmp_path / "b.npz", arrays())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz")["a__x"], arrays()["a/x"])


def test_bfloat16_travels_as_its_bits(tmp_path: Path) -> None:
    values = np.array([1.5, -2], ml_dtypes.bfloat16)
    write_npz(tmp_path / "h.npz", {"h": values})
    (back,) = match((HALF,), read_npz(tmp_path / "h.npz"))
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_a_broken_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.npz: not an \.npz"):
        read_npz(tmp_path / "x.npz")


def test_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{}], object))
    with pytest.raises(BadInput, match=r"not an \.npz of plain arrays"):
        read_npz(tmp_path / "x.npz")


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(1))
    with pytest.raises(BadInput, match=r"not an \.npz of plain arrays"):
        read_npz(tmp_path / "x.npy")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_npz(tmp_path / "x.npz")


def test_random_inputs_are_seeded_and_fit() -> None:
    flag = Port("flag", np.dtype(np.bool_), ())
    first, again = (random_inputs((X, IDS, HALF, flag)) for _ in range(2))
    for a, b, port in zip(first, again, (X, IDS, HALF, flag), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a.dtype, a.shape) == (port.dtype, port.shape)
    assert set(first[1].tolist()) <= {0, 1}
    assert not np.array_equal(first[0], random_inputs((X,), seed=1)[0])
