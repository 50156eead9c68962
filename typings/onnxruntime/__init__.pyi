"""What mxc uses of onnxruntime, typed."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

__version__: str

class SessionOptions:
    log_severity_level: int

class InferenceSession:
    def __init__(
        self, path: str, sess_options: SessionOptions, *, providers: Sequence[str]
    ) -> None: ...
    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]
    ) -> list[Any]: ...

class capi:
    onnxruntime_pybind11_state: ModuleType
