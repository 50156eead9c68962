"""Imports ONNX models: `import_model("model.onnx", dims={"batch": 1})`.

Steps: load and check (`load`, `tensors`), give every input a static shape (`pins`), walk the nodes
(`trace`): resolve their inputs, bring them to the newest opset (`upgrades`), inline functions and
control flow (`control`), evaluate what is constant (`fold`), infer the types of the rest (`infer`);
then build the module (`build`).
"""

from mxc.importer.model import Imported, import_model

__all__ = ["Imported", "import_model"]
