// The largest logits of rows without moving the rows: the largest of each block, then the blocks that are asked for.
//
// logits: (rows, vocab); a row has `blocks` blocks of 64, the last of which may reach behind its end.

#include <cmath>
#include <cstdint>

constexpr uint32_t BLOCK = 64;

// maxima: (rows, blocks). What is no number does not count; a block without any number has negative infinity.
//
// One thread a block of logits: blockDim threads, gridDim (rows, ceil(blocks / threads)).
extern "C" __global__ void block_maxima(
    float *__restrict__ maxima,
    const float *__restrict__ logits,
    const uint32_t vocab,
    const uint32_t blocks)
{
    const uint32_t block = blockIdx.y * blockDim.x + threadIdx.x;
    if (block >= blocks) {
        return;
    }
    const uint32_t start = block * BLOCK;
    const uint32_t end = vocab - start < BLOCK ? vocab : start + BLOCK;
    const float *row = logits + (size_t)blockIdx.x * vocab;
    float largest = -INFINITY;
    for (uint32_t at = start; at < end; ++at) {
        const float logit = row[at];
        if (logit > largest) {
            largest = logit;
        }
    }
    maxima[(size_t)blockIdx.x * blocks + block] = largest;
}

// part: (gridDim.x, 64): the blocks that `which` numbers through all rows, row * blocks + block; negative infinity behind
// a row's end.
//
// 64 threads, gridDim.x blocks of logits.
extern "C" __global__ void take_blocks(
    float *__restrict__ part,
    const float *__restrict__ logits,
    const uint32_t *__restrict__ which,
    const uint32_t vocab,
    const uint32_t blocks)
{
    const uint32_t number = which[blockIdx.x];
    const uint32_t at = number % blocks * BLOCK + threadIdx.x;
    const float *row = logits + (size_t)(number / blocks) * vocab;
    part[(size_t)blockIdx.x * BLOCK + threadIdx.x] = at < vocab ? row[at] : -INFINITY;
}
