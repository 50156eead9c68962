// RUN: mx-fuse-scales

// A tile cut into rows keeps every value under rceil: the middle of the chain goes.
// CHECK-LABEL: func.func @main
// CHECK: %[[T:.*]] = mx.quantize %x
// CHECK-NOT: 1x32
// CHECK: mx.requantize %[[T]] {{.*}}32x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
// CHECK-NOT: mx.requantize
func.func @main(%x: tensor<64x64xf32>, %y: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %t = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %q = mx.quantize %y {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %r = mx.requantize %t {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
  %s = mx.requantize %r {recipe = #mx.recipe<floor, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
  %m = mx.matmul %q, %s {contract = "block-exact"} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>>, tensor<64x64x!mx.block<f8E4M3FN, 32x1>> -> tensor<64x64xf32>
  func.return %m : tensor<64x64xf32>
}

// -----

// Contractions read the tile itself.
// CHECK-LABEL: func.func @main
// CHECK: %[[T:.*]] = mx.quantize %x
// CHECK-NOT: mx.requantize
// CHECK: mx.matmul %[[T]], %[[T]]
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %t = mx.quantize %x {recipe = #mx.recipe<ceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %r = mx.requantize %t {recipe = #mx.recipe<ceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
  %s = mx.requantize %t {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
  %m = mx.matmul %r, %s {contract = "block-exact"} : tensor<64x64x!mx.block<f8E4M3FN, 1x32>>, tensor<64x64x!mx.block<f8E4M3FN, 32x1>> -> tensor<64x64xf32>
  func.return %m : tensor<64x64xf32>
}

// -----

// Must stay: under floor a row with 1.875 * 2**k on top saturates.
// CHECK-LABEL: func.func @main
// CHECK: mx.requantize
// CHECK: mx.requantize
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %t = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %r = mx.requantize %t {recipe = #mx.recipe<floor, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
  %s = mx.requantize %r {recipe = #mx.recipe<even, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
  %m = mx.matmul %r, %s {contract = "block-exact"} : tensor<64x64x!mx.block<f8E4M3FN, 1x32>>, tensor<64x64x!mx.block<f8E4M3FN, 32x1>> -> tensor<64x64xf32>
  func.return %m : tensor<64x64xf32>
}

// -----

// Must stay: ceil after rceil may need a larger scale; and columns are no parts of rows.
// CHECK-LABEL: func.func @main
// CHECK: mx.requantize
// CHECK: mx.requantize
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %t = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %r = mx.requantize %t {recipe = #mx.recipe<ceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
  %s = mx.requantize %r {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
  %m = mx.matmul %r, %s {contract = "block-exact"} : tensor<64x64x!mx.block<f8E4M3FN, 1x32>>, tensor<64x64x!mx.block<f8E4M3FN, 32x1>> -> tensor<64x64xf32>
  func.return %m : tensor<64x64xf32>
}

// -----

// Must stay: the caller sees the float values, and the sign of a zero with them.
// CHECK-LABEL: func.func @main
// CHECK: mx.requantize
// CHECK: mx.requantize
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %t = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %r = mx.requantize %t {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
  %s = mx.requantize %r {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
  %d = mx.dequantize %s : tensor<64x64x!mx.block<f8E4M3FN, 32x1>> -> tensor<64x64xf32>
  func.return %d : tensor<64x64xf32>
}

// -----

// Dequantised and quantised again by floor: the same blocks. Other blocks: requantised.
// CHECK-LABEL: func.func @main
// CHECK: %[[Q:.*]] = mx.quantize %x
// CHECK-NEXT: %[[R:.*]] = mx.requantize %[[Q]]
// CHECK-NEXT: mx.matmul %[[Q]], %[[R]]
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %q = mx.quantize %x {recipe = #mx.recipe<floor, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
  %d = mx.dequantize %q : tensor<64x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<64x64xf32>
  %a = mx.quantize %d {recipe = #mx.recipe<floor, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
  %b = mx.quantize %d {recipe = #mx.recipe<floor, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x1>>
  %m = mx.matmul %a, %b {contract = "block-exact"} : tensor<64x64x!mx.block<f8E4M3FN, 1x32>>, tensor<64x64x!mx.block<f8E4M3FN, 32x1>> -> tensor<64x64xf32>
  func.return %m : tensor<64x64xf32>
}

// -----

// Must stay: by rceil, what lies near 2**128 rounds up to it, which is infinity in f32.
// CHECK-LABEL: func.func @main
// CHECK: mx.quantize
// CHECK: mx.dequantize
// CHECK: mx.quantize
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %q = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %d = mx.dequantize %q : tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64xf32>
  %a = mx.quantize %d {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %m = mx.matmul %a, %a {contract = "block-exact"} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>>, tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64xf32>
  func.return %m : tensor<64x64xf32>
}

// -----

// Must stay: these blocks come from outside, with any scales.
// CHECK-LABEL: func.func @main
// CHECK: mx.pack
// CHECK: mx.dequantize
// CHECK: mx.quantize
func.func @main(%c: tensor<64x64xf8E4M3FN>, %s: tensor<64x2xf8E8M0FNU>) -> tensor<64x64xf32> {
  %q = mx.pack %c, %s : tensor<64x64xf8E4M3FN>, tensor<64x2xf8E8M0FNU> -> tensor<64x64x!mx.block<f8E4M3FN, 1x32>>
  %d = mx.dequantize %q : tensor<64x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<64x64xf32>
  %a = mx.quantize %d {recipe = #mx.recipe<floor, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %m = mx.matmul %a, %a {contract = "block-exact"} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>>, tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64xf32>
  func.return %m : tensor<64x64xf32>
}

// -----

// Moves and signs are done to codes.
// CHECK-LABEL: func.func @main
// CHECK: %[[Q:.*]] = mx.quantize %x
// CHECK: %[[T:.*]] = mx.transpose %[[Q]]
// CHECK: %[[N:.*]] = mx.neg %[[T]]
// CHECK: %[[A:.*]] = mx.abs %[[N]]
// CHECK: %[[D:.*]] = mx.dequantize %[[A]]
// CHECK: func.return %[[D]]
func.func @main(%x: tensor<4x64xf32>) -> tensor<64x4xf32> {
  %q = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<4x64xf32> -> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>
  %d = mx.dequantize %q : tensor<4x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<4x64xf32>
  %t = onnx.Transpose(%d) <{perm = array<i64: 1, 0>}> : (tensor<4x64xf32>) -> tensor<64x4xf32>
  %n = onnx.Neg(%t) : (tensor<64x4xf32>) -> tensor<64x4xf32>
  %a = onnx.Abs(%n) : (tensor<64x4xf32>) -> tensor<64x4xf32>
  func.return %a : tensor<64x4xf32>
}

// -----

// A reshape that keeps blocks whole is done to codes; one that cuts them stays.
// CHECK-LABEL: func.func @main
// CHECK: mx.reshape {{.*}} -> tensor<2x4x2x32x!mx.block<f8E4M3FN, 1x1x1x32>>
// CHECK: onnx.Flatten
// CHECK-NOT: mx.reshape
func.func @main(%x: tensor<8x64xf32>, %y: tensor<8x48xf32>, %s: tensor<4xi64>) -> (tensor<2x4x2x32xf32>, tensor<1x384xf32>) {
  %q = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<8x64xf32> -> tensor<8x64x!mx.block<f8E4M3FN, 1x32>>
  %d = mx.dequantize %q : tensor<8x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<8x64xf32>
  %r = onnx.Reshape(%d, %s) : (tensor<8x64xf32>, tensor<4xi64>) -> tensor<2x4x2x32xf32>
  %p = mx.quantize %y {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<8x48xf32> -> tensor<8x48x!mx.block<f8E4M3FN, 1x32>>
  %e = mx.dequantize %p : tensor<8x48x!mx.block<f8E4M3FN, 1x32>> -> tensor<8x48xf32>
  %f = onnx.Flatten(%e) <{axis = 0 : i64}> : (tensor<8x48xf32>) -> tensor<1x384xf32>
  func.return %r, %f : tensor<2x4x2x32xf32>, tensor<1x384xf32>
}

// -----

// Must stay: the integer code 0 has no negative; -0 would become +0.
// CHECK-LABEL: func.func @main
// CHECK: onnx.Neg
func.func @main(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %q = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<4x64xf32> -> tensor<4x64x!mx.block<i8, 1x32>>
  %d = mx.dequantize %q : tensor<4x64x!mx.block<i8, 1x32>> -> tensor<4x64xf32>
  %n = onnx.Neg(%d) : (tensor<4x64xf32>) -> tensor<4x64xf32>
  func.return %n : tensor<4x64xf32>
}

// -----

// Must stay: somebody else reads the dequantised tensor, so nothing is saved.
// CHECK-LABEL: func.func @main
// CHECK: onnx.Neg
func.func @main(%x: tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %q = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<4x64xf32> -> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>
  %d = mx.dequantize %q : tensor<4x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<4x64xf32>
  %n = onnx.Neg(%d) : (tensor<4x64xf32>) -> tensor<4x64xf32>
  func.return %n, %d : tensor<4x64xf32>, tensor<4x64xf32>
}

// -----

// Quantisation moves up to what it quantises.
// CHECK-LABEL: func.func @main
// CHECK: %[[R:.*]] = onnx.Relu(%x)
// CHECK-NEXT: mx.quantize %[[R]]
// CHECK-NEXT: onnx.Sigmoid
func.func @main(%x: tensor<64x64xf32>) -> (tensor<64x64xf32>, tensor<64x64xf32>) {
  %r = onnx.Relu(%x) : (tensor<64x64xf32>) -> tensor<64x64xf32>
  %s = onnx.Sigmoid(%x) : (tensor<64x64xf32>) -> tensor<64x64xf32>
  %q = mx.quantize %r {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<64x64xf32> -> tensor<64x64x!mx.block<f8E4M3FN, 32x32>>
  %m = mx.matmul %q, %q {contract = "block-exact"} : tensor<64x64x!mx.block<f8E4M3FN, 32x32>>, tensor<64x64x!mx.block<f8E4M3FN, 32x32>> -> tensor<64x64xf32>
  func.return %s, %m : tensor<64x64xf32>, tensor<64x64xf32>
}
