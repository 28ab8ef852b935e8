// activation(gate) * up, of rows that hold `inner` gates and then `inner` ups; in f32, rounded once.
//
// blockDim threads, gridDim (tokens, ceil(inner / threads)).

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ __forceinline__ float widen(const __nv_bfloat16 number) { return __bfloat162float(number); }
__device__ __forceinline__ float widen(const __half number) { return __half2float(number); }
__device__ __forceinline__ void narrow(__nv_bfloat16 &to, const float number) { to = __float2bfloat16_rn(number); }
__device__ __forceinline__ void narrow(__half &to, const float number) { to = __float2half_rn(number); }

// x * sigmoid(x)
struct Silu {
    __device__ __forceinline__ static float of(const float x) { return x / (1.0f + expf(-x)); }
};

// x * P(X <= x) of a normal X
struct Gelu {
    __device__ __forceinline__ static float of(const float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
};

// The same by its tanh approximation: sqrt(2 / pi) is 0.79788456.
struct GeluTanh {
    __device__ __forceinline__ static float of(const float x)
    {
        return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    }
};

template <typename Activation, typename T>
__device__ __forceinline__ void gate(T *__restrict__ gated, const T *__restrict__ both, const uint32_t inner)
{
    const uint32_t at = blockIdx.y * blockDim.x + threadIdx.x;
    if (at >= inner) {
        return;
    }
    const T *row = both + (size_t)blockIdx.x * 2 * inner;
    narrow(gated[(size_t)blockIdx.x * inner + at], Activation::of(widen(row[at])) * widen(row[inner + at]));
}

#define GATE(name, activation, number)                                                                                 \
    extern "C" __global__ void name(number *gated, const number *both, const uint32_t inner)                           \
    {                                                                                                                  \
        gate<activation>(gated, both, inner);                                                                          \
    }

GATE(gate_silu_bf16, Silu, __nv_bfloat16)
GATE(gate_silu_f16, Silu, __half)
GATE(gate_gelu_bf16, Gelu, __nv_bfloat16)
GATE(gate_gelu_f16, Gelu, __half)
GATE(gate_gelu_tanh_bf16, GeluTanh, __nv_bfloat16)
GATE(gate_gelu_tanh_f16, GeluTanh, __half)
