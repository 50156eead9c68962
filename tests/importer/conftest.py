"""The fixture that imports a model made in a test."""

from pathlib import Path
from typing import Any

import onnx
import pytest

from mxc.importer import Imported, import_model
from tests.importer.helpers import Import


@pytest.fixture
def load(tmp_path: Path) -> Import:
    """`load(model, **options)`: the model (a proto) saved and imported, verified."""

    def imported(model: onnx.ModelProto, **options: Any) -> Imported:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        result = import_model(path, **options)
        result.module.verify()
        return result

    return imported
