/* Feeds the TLSF engine with whatever steps libFuzzer invents, beside the model of the unit test. */
#include "tlsf_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t take(const uint8_t **data, size_t *size, unsigned bytes)
{
    uint32_t value = 0;
    for (; bytes && *size; bytes--, (*size)--) value = value << 8 | *(*data)++;
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    if (!size) return 0;
    unsigned kind = take(&data, &size, 1);
    uint64_t granule = UINT64_C(1) << (kind % 17);
    model_start_with(&model, granule, kind < 128 ? granule : granule * (1 + take(&data, &size, 1)));
    model_add_chunk(&model, 1 + take(&data, &size, 3));
    while (size) {
        unsigned step = take(&data, &size, 1);
        switch (step % 6) {
        case 0: model_add_chunk(&model, 1 + take(&data, &size, 3)); break;
        case 1: model_allocate(&model, 1 + take(&data, &size, 2), 1); break;
        case 2: model_allocate(&model, 1 + take(&data, &size, 3), UINT64_C(1) << (step / 6 % 20)); break;
        case 3: model_resize(&model, take(&data, &size, 1), 1 + take(&data, &size, 3)); break;
        case 4: model_extend_chunk(&model, 1 + take(&data, &size, 3)); break;
        default: model_free(&model, take(&data, &size, 1)); break;
        }
    }
    model_end(&model);
    return 0;
}
