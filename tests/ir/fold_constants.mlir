// RUN: fold-constants

// Must not fire: an operand that is no constant, and random numbers. What folds is shown in
// tests/passes/test_cleanup.py, since arrays are not written in the text.
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %a = onnx.Neg(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.RandomNormal() <{shape = array<i64: 4>}> : () -> tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}
// CHECK: onnx.Neg(%x)
// CHECK-NEXT: onnx.RandomNormal
