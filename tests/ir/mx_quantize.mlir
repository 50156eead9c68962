// RUN: mx-quantize

// MatMul becomes mx.matmul with marks; no blocks yet.
// CHECK-LABEL: func.func @main
// CHECK: mx.matmul %x, %w {contract = "sequential", lhs_as = "mxfp8_e4m3", lhs_recipe = #mx.recipe<rceil,{{.*}}>, rhs_as = "mxfp8_e4m3",{{.*}}} : tensor<4x64xf32>, tensor<64x8xf32> -> tensor<4x8xf32>
func.func @main(%x: tensor<4x64xf32>, %w: tensor<64x8xf32>) -> tensor<4x8xf32> {
  %y = onnx.MatMul(%x, %w) : (tensor<4x64xf32>, tensor<64x8xf32>) -> tensor<4x8xf32>
  func.return %y : tensor<4x8xf32>
}

// -----

// Vectors become matrices and back.
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]] = onnx.Reshape(%x, %{{.*}}) : (tensor<64xf32>, tensor<2xi64>) -> tensor<1x64xf32>
// CHECK: %[[Y:.*]] = mx.matmul %[[X]], %w
// CHECK: onnx.Reshape(%[[Y]], %{{.*}}) : (tensor<1x8xf32>, tensor<1xi64>) -> tensor<8xf32>
func.func @main(%x: tensor<64xf32>, %w: tensor<64x8xf32>) -> tensor<8xf32> {
  %y = onnx.MatMul(%x, %w) : (tensor<64xf32>, tensor<64x8xf32>) -> tensor<8xf32>
  func.return %y : tensor<8xf32>
}

// -----

// Gemm: transpose, product, alpha, bias times beta.
// CHECK-LABEL: func.func @main
// CHECK: %[[T:.*]] = onnx.Transpose(%w)
// CHECK: %[[M:.*]] = mx.matmul %x, %[[T]]
// CHECK: %[[A:.*]] = onnx.Mul(%[[M]],
// CHECK: %[[B:.*]] = onnx.Mul(%b,
// CHECK: onnx.Add(%[[A]], %[[B]])
func.func @main(%x: tensor<4x64xf32>, %w: tensor<8x64xf32>, %b: tensor<8xf32>) -> tensor<4x8xf32> {
  %y = onnx.Gemm(%x, %w, %b) <{transB = 1 : i64, alpha = 0.5 : f32, beta = 2.0 : f32}> : (tensor<4x64xf32>, tensor<8x64xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  func.return %y : tensor<4x8xf32>
}

// -----

// Half floats contract in f32 and are cast back.
// CHECK-LABEL: func.func @main
// CHECK: %[[M:.*]] = mx.matmul %x, %w {{.*}} : tensor<4x64xf16>, tensor<64x8xf16> -> tensor<4x8xf32>
// CHECK: onnx.Cast(%[[M]]) <{to = 10 : i64}> : (tensor<4x8xf32>) -> tensor<4x8xf16>
func.func @main(%x: tensor<4x64xf16>, %w: tensor<64x8xf16>) -> tensor<4x8xf16> {
  %y = onnx.MatMul(%x, %w) : (tensor<4x64xf16>, tensor<64x8xf16>) -> tensor<4x8xf16>
  func.return %y : tensor<4x8xf16>
}

// -----

// auto_pad is worked out; the bias is added behind the convolution.
// CHECK-LABEL: func.func @main
// CHECK: %[[C:.*]] = mx.conv %x, %w {{.*}}strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 1, 1>{{.*}}lhs_as = "mxfp8_e4m3"
// CHECK: onnx.Add(%[[C]],
func.func @main(%x: tensor<1x32x8x8xf32>, %w: tensor<16x32x3x3xf32>, %b: tensor<16xf32>) -> tensor<1x16x4x4xf32> {
  %y = onnx.Conv(%x, %w, %b) <{strides = array<i64: 2, 2>, auto_pad = "SAME_UPPER"}> : (tensor<1x32x8x8xf32>, tensor<16x32x3x3xf32>, tensor<16xf32>) -> tensor<1x16x4x4xf32>
  func.return %y : tensor<1x16x4x4xf32>
}

// -----

// Must not fire: a depthwise convolution has one channel per group, so it stays float.
// CHECK-LABEL: func.func @main
// CHECK: mx.conv
// CHECK-NOT: lhs_as
func.func @main(%x: tensor<1x32x8x8xf32>, %w: tensor<32x1x3x3xf32>) -> tensor<1x32x6x6xf32> {
  %y = onnx.Conv(%x, %w) <{group = 32 : i64}> : (tensor<1x32x8x8xf32>, tensor<32x1x3x3xf32>) -> tensor<1x32x6x6xf32>
  func.return %y : tensor<1x32x6x6xf32>
}

// -----

// Must not fire: integers are no floats.
// CHECK-LABEL: func.func @main
// CHECK: onnx.MatMul
func.func @main(%x: tensor<4x64xi32>, %w: tensor<64x8xi32>) -> tensor<4x8xi32> {
  %y = onnx.MatMul(%x, %w) : (tensor<4x64xi32>, tensor<64x8xi32>) -> tensor<4x8xi32>
  func.return %y : tensor<4x8xi32>
}
