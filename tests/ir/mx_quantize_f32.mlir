// RUN: mx-quantize{weights=f32 activations=mxint8 scale-rule=floor}

// Formats of weights and activations are separate; here both operands are activations.
// CHECK-LABEL: func.func @main
// CHECK: mx.matmul %x, %w {contract = "sequential", lhs_as = "mxint8", lhs_recipe = #mx.recipe<floor,{{.*}}>, rhs_as = "mxint8"
func.func @main(%x: tensor<4x64xf32>, %w: tensor<64x8xf32>) -> tensor<4x8xf32> {
  %y = onnx.MatMul(%x, %w) : (tensor<4x64xf32>, tensor<64x8xf32>) -> tensor<4x8xf32>
  func.return %y : tensor<4x8xf32>
}
