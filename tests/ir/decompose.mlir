// RUN: decompose

// Query heads that share a key head are rows of one matrix; keys are not repeated.
// CHECK-LABEL: func.func @main
// CHECK: onnx.Mul(%q, %{{.*}})
// CHECK: onnx.Reshape({{.*}}) -> tensor<1x2x6x8xf32>
// CHECK: onnx.Transpose(%k)
// CHECK: %[[S:.*]] = onnx.MatMul({{.*}}) : (tensor<1x2x6x8xf32>, tensor<1x2x8x5xf32>) -> tensor<1x2x6x5xf32>
// CHECK: onnx.Reshape(%[[S]], {{.*}}) -> tensor<1x4x3x5xf32>
// CHECK: onnx.Softmax
// CHECK: onnx.MatMul({{.*}}, %v) : (tensor<1x2x6x5xf32>, tensor<1x2x5x8xf32>) -> tensor<1x2x6x8xf32>
// CHECK-NOT: onnx.Attention
func.func @main(%q: tensor<1x4x3x8xf32>, %k: tensor<1x2x5x8xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  %y = onnx.Attention(%q, %k, %v) : (tensor<1x4x3x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  func.return %y : tensor<1x4x3x8xf32>
}

// -----

// A contraction in Einsum is one MatMul.
// CHECK-LABEL: func.func @main
// CHECK: %[[T:.*]] = onnx.Transpose(%b) <{perm = array<i64: 1, 0>}>
// CHECK: onnx.MatMul(%a, %[[T]])
// CHECK-NOT: onnx.Einsum
func.func @main(%a: tensor<3x4xf32>, %b: tensor<5x4xf32>) -> tensor<3x5xf32> {
  %y = onnx.Einsum(%a, %b) <{equation = "ik,jk->ij"}> : (tensor<3x4xf32>, tensor<5x4xf32>) -> tensor<3x5xf32>
  func.return %y : tensor<3x5xf32>
}

// -----

// The inputs of all steps meet their weights before the loop; the loop holds the other product.
// CHECK-LABEL: func.func @main
// CHECK: onnx.MatMul({{.*}}) : (tensor<10x3xf32>, tensor<3x4xf32>) -> tensor<10x4xf32>
// CHECK: scf.for
// CHECK: tensor.extract_slice
// CHECK: onnx.MatMul({{.*}}) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
// CHECK: onnx.Tanh
// CHECK: tensor.insert_slice
// CHECK: scf.yield
// CHECK-NOT: onnx.RNN
func.func @main(%x: tensor<5x2x3xf32>, %w: tensor<1x4x3xf32>, %r: tensor<1x4x4xf32>) -> tensor<5x1x2x4xf32> {
  %y = onnx.RNN(%x, %w, %r) <{hidden_size = 4 : i64}> : (tensor<5x2x3xf32>, tensor<1x4x3xf32>, tensor<1x4x4xf32>) -> tensor<5x1x2x4xf32>
  func.return %y : tensor<5x1x2x4xf32>
}

// -----

// A stride of 2 is two convolutions with the even and the odd taps, interleaved.
// CHECK-LABEL: func.func @main
// CHECK: onnx.Conv({{.*}}) {{.*}} : (tensor<1x1x4xf32>, tensor<1x1x2xf32>) -> tensor<1x1x5xf32>
// CHECK: onnx.Conv({{.*}}) {{.*}} : (tensor<1x1x4xf32>, tensor<1x1x2xf32>) -> tensor<1x1x5xf32>
// CHECK: onnx.Concat
// CHECK: onnx.Transpose
// CHECK-NOT: onnx.ConvTranspose
func.func @main(%x: tensor<1x1x4xf32>, %w: tensor<1x1x4xf32>) -> tensor<1x1x10xf32> {
  %y = onnx.ConvTranspose(%x, %w) <{strides = array<i64: 2>}> : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x10xf32>
  func.return %y : tensor<1x1x10xf32>
}

// -----

// What is simple already stays.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: onnx.MatMul(%a, %b)
// CHECK-NEXT: func.return
func.func @main(%a: tensor<3x4xf32>, %b: tensor<4x5xf32>) -> tensor<3x5xf32> {
  %y = onnx.MatMul(%a, %b) : (tensor<3x4xf32>, tensor<4x5xf32>) -> tensor<3x5xf32>
  func.return %y : tensor<3x5xf32>
}
