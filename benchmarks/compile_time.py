"""Compile time against depth: GPT-2-shaped models of 4, 8, 16, 32 layers, import to C on disk.

    python benchmarks/compile_time.py [--format mxfp8] [--repeat 3]

Prints the best of some runs per model, and the exponent b of the fit `seconds = a * layers**b`:
1 is linear. A compilation runs in this process, after one that warms it up.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
import onnx

from mxc.driver import Options, compile_model

LAYERS = (4, 8, 16, 32)


def example_models() -> ModuleType:
    """The module examples/models.py."""
    path = Path(__file__).parent.parent / "examples" / "models.py"
    spec = importlib.util.spec_from_file_location("example_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def seconds(layers: int, options: Options, repeat: int, folder: Path) -> float:
    """The fastest of `repeat` compilations of a model of so many layers."""
    file = folder / f"gpt{layers}.onnx"
    onnx.save(example_models().gpt(layers), file)
    runs = [compile_model(file, folder / file.stem, options).seconds for _ in range(repeat)]
    return min(runs)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Measure compile time against depth.")
    parser.add_argument("--format", default="mxfp8")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    options = Options(format=args.format)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds(1, options, 1, folder)
        times = [seconds(layers, options, args.repeat, folder) for layers in LAYERS]
    for layers, time in zip(LAYERS, times, strict=True):
        print(f"{layers:3} layers  {time:7.2f} s  {1000 * time / layers:6.0f} ms per layer")
    exponent = np.polyfit(np.log(LAYERS), np.log(times), 1)[0]
    print(f"seconds grow with layers to the power {exponent:.2f}")


if __name__ == "__main__":
    main()
