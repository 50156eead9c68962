// RUN: mx-quantize,mx-layout{policy=greedy}

// Each operand is quantised along the axis that is contracted.
// CHECK-LABEL: func.func @main
// CHECK-DAG: %[[X:.*]] = mx.quantize %x {{.*}} -> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>
// CHECK-DAG: %[[W:.*]] = mx.quantize %w {{.*}} -> tensor<64x8x!mx.block<f8E4M3FN, 32x1>>
// CHECK: mx.matmul %[[X]], %[[W]] {contract = "block-exact"}
func.func @main(%x: tensor<4x64xf32>, %w: tensor<64x8xf32>) -> tensor<4x8xf32> {
  %y = onnx.MatMul(%x, %w) : (tensor<4x64xf32>, tensor<64x8xf32>) -> tensor<4x8xf32>
  func.return %y : tensor<4x8xf32>
}

// -----

// A transpose is looked through: x is quantised once and its codes are read transposed.
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]] = mx.quantize %x
// CHECK-NOT: mx.quantize
// CHECK: %[[T:.*]] = mx.transpose %[[X]]
// CHECK: mx.matmul %[[X]], %[[T]]
func.func @main(%x: tensor<4x64xf32>) -> tensor<4x4xf32> {
  %t = onnx.Transpose(%x) <{perm = array<i64: 1, 0>}> : (tensor<4x64xf32>) -> tensor<64x4xf32>
  %y = onnx.MatMul(%x, %t) : (tensor<4x64xf32>, tensor<64x4xf32>) -> tensor<4x4xf32>
  func.return %y : tensor<4x4xf32>
}

// -----

// Contracted along both axes, a value is quantised twice, each time from its float form.
// CHECK-LABEL: func.func @main
// CHECK-DAG: mx.quantize %x {{.*}} -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
// CHECK-DAG: mx.quantize %x {{.*}} -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
// CHECK-NOT: mx.quantize
// CHECK-NOT: mx.requantize
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %y = onnx.MatMul(%x, %x) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  func.return %y : tensor<64x64xf32>
}
