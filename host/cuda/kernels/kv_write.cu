// Copies the keys and values of a step's tokens into their slots of a paged slab.
//
// projected: one row a token, `stride` vectors wide; its keys begin at vector `first`, its values right behind them.
// slab: (blocks, 2, page, row), keys before values in each block; `row` vectors are one token's keys, or its values.
// slots: one a token, block * page + place within the block.
// A vector is 16 bytes, so the kernel does not know what numbers it moves.
//
// One block of threads a token: gridDim.x tokens.

#include <cstdint>

extern "C" __global__ void kv_write(
    uint4 *__restrict__ slab,
    const uint4 *__restrict__ projected,
    const uint32_t *__restrict__ slots,
    const uint32_t page,
    const uint32_t row,
    const uint32_t stride,
    const uint32_t first)
{
    const uint32_t slot = slots[blockIdx.x];
    const size_t block = slot / page;
    const size_t place = slot % page;
    const uint4 *from = projected + (size_t)blockIdx.x * stride + first;
    uint4 *keys = slab + (block * 2 * page + place) * row;
    uint4 *values = keys + (size_t)page * row;
    for (uint32_t at = threadIdx.x; at < row; at += blockDim.x) {
        keys[at] = from[at];
        values[at] = from[row + at];
    }
}
