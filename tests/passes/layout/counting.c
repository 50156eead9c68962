/* Counts the conversions that a model asks of the HAL; linked with -Wl,--wrap=mxnpu_quantize. */
#include "mxnpu.h"

/* Operations, elements times bits, scales, elements: quantised, then requantised. */
int64_t counted[8];

void __real_mxnpu_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d);
void __wrap_mxnpu_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d);

void __wrap_mxnpu_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d) {
    int64_t *row = counted + (d->source.kind == MXNPU_BLOCKS ? 4 : 0);
    int64_t elements = 1, scales = 1;
    for (uint32_t i = 0; i < d->how.rank; i++) {
        const int64_t size = (int64_t)d->how.shape[i], block = (int64_t)d->how.block[i];
        elements *= size;
        scales *= (size + block - 1) / block;
    }
    row[0] += 1;
    row[1] += elements * (int64_t)MX_ELEMENTS[d->how.format].bits;
    row[2] += scales;
    row[3] += elements;
    __real_mxnpu_quantize(device, d);
}
