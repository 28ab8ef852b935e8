// What stands between the projection to queries, keys and values and attention, in place: biases, norms of the heads of
// queries and keys, and their rotation.
//
// projected: (tokens, heads + 2 * kv_heads, dim): heads of queries, then of keys, then of values.
// bias: (heads + 2 * kv_heads, dim), or null.  query_norm, key_norm: (dim), or null.
// angles: (positions, 2 * pairs), a position's cosines before its sines, or null where nothing turns (pairs is 0 then).
// Element i < pairs turns with element i + pairs; those behind 2 * pairs stay.
// Sums and angles are f32; every element is rounded once.
//
// A warp a head: blockDim (32, warps), gridDim (tokens, ceil(heads of all three / warps)).

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ __forceinline__ float widen(const __nv_bfloat16 number) { return __bfloat162float(number); }
__device__ __forceinline__ float widen(const __half number) { return __half2float(number); }
__device__ __forceinline__ void narrow(__nv_bfloat16 &to, const float number) { to = __float2bfloat16_rn(number); }
__device__ __forceinline__ void narrow(__half &to, const float number) { to = __float2half_rn(number); }

template <typename T>
__device__ __forceinline__ float with_bias(const T *head, const float *bias, const uint32_t at)
{
    const float number = widen(head[at]);
    return bias ? number + bias[at] : number;
}

// What the sum of squares makes of a head: the same in all lanes, and known to all only after all have read the head.
template <typename T>
__device__ __forceinline__ float norm_factor(const T *head, const float *bias, const float eps, const uint32_t dim)
{
    float squares = 0.0f;
    for (uint32_t at = threadIdx.x; at < dim; at += 32) {
        const float number = with_bias(head, bias, at);
        squares += number * number;
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        squares += __shfl_xor_sync(0xffffffffu, squares, distance);
    }
    return 1.0f / sqrtf(squares / (float)dim + eps);
}

template <typename T>
__device__ __forceinline__ void turn_head(
    T *head,
    const float *bias,
    const float *norm,
    const float eps,
    const float *angles,
    const uint32_t dim,
    const uint32_t pairs)
{
    const float factor = norm ? norm_factor(head, bias, eps, dim) : 1.0f;
    const auto number = [&](const uint32_t at) {
        const float biased = with_bias(head, bias, at);
        return norm ? biased * factor * norm[at] : biased;
    };
    // A lane reads what it writes and nothing of another's.
    for (uint32_t at = threadIdx.x; at < pairs; at += 32) {
        const float cosine = angles[at];
        const float sine = angles[pairs + at];
        const float first = number(at);
        const float second = number(at + pairs);
        narrow(head[at], first * cosine - second * sine);
        narrow(head[at + pairs], first * sine + second * cosine);
    }
    if (bias || norm) {
        for (uint32_t at = 2 * pairs + threadIdx.x; at < dim; at += 32) {
            narrow(head[at], number(at));
        }
    }
}

template <typename T>
__device__ __forceinline__ void turn(
    T *projected,
    const float *bias,
    const float *query_norm,
    const float *key_norm,
    const float eps,
    const float *angles,
    const uint32_t *positions,
    const uint32_t heads,
    const uint32_t kv_heads,
    const uint32_t dim,
    const uint32_t pairs)
{
    const uint32_t all = heads + 2 * kv_heads;
    const uint32_t index = blockIdx.y * blockDim.y + threadIdx.y;
    // A whole warp leaves, or none of it: it is one head's.
    if (index >= all) {
        return;
    }
    T *head = projected + ((size_t)blockIdx.x * all + index) * dim;
    const float *head_bias = bias ? bias + (size_t)index * dim : nullptr;
    if (index >= heads + kv_heads) {
        turn_head(head, head_bias, (const float *)nullptr, eps, (const float *)nullptr, dim, 0);
        return;
    }
    const float *of_position = angles ? angles + (size_t)positions[blockIdx.x] * 2 * pairs : nullptr;
    turn_head(head, head_bias, index < heads ? query_norm : key_norm, eps, of_position, dim, pairs);
}

#define TURN(name, number)                                                                                             \
    extern "C" __global__ void name(                                                                                   \
        number *projected, const float *bias, const float *query_norm, const float *key_norm, const float eps,         \
        const float *angles, const uint32_t *positions, const uint32_t heads, const uint32_t kv_heads,                 \
        const uint32_t dim, const uint32_t pairs)                                                                      \
    {                                                                                                                  \
        turn(projected, bias, query_norm, key_norm, eps, angles, positions, heads, kv_heads, dim, pairs);              \
    }

TURN(turn_bf16, __nv_bfloat16)
TURN(turn_f16, __half)
