// RUN: mx-quantize,mx-layout{policy=naive}

// Quantised along its last axis by the producer; the other axis is requantised.
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]] = mx.quantize %x {{.*}} -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
// CHECK: mx.requantize %[[X]] {{.*}} -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
// CHECK-NOT: mx.quantize
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %y = onnx.MatMul(%x, %x) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  func.return %y : tensor<64x64xf32>
}

