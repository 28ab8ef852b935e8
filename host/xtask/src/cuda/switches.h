// Put in front of each paged kernel of candle-flash-attn 0.11: what its launcher asks at run time and weir always answers
// alike. Ragged batches are never of even lengths, KV is written before, not by, the kernel, and no row's keys are split: of
// eight kernels one is left. Windows and soft caps differ from layer to layer and are still asked for.

#pragma once

#include "static_switch.h"

#undef BOOL_SWITCH
#define BOOL_SWITCH(CONDITION, NAME, ...)      \
    [&] {                                      \
        constexpr static bool NAME = false;    \
        return __VA_ARGS__();                  \
    }()

#define ASKED_SWITCH(CONDITION, NAME, ...)     \
    [&] {                                      \
        if (CONDITION) {                       \
            constexpr static bool NAME = true; \
            return __VA_ARGS__();              \
        }                                      \
        constexpr static bool NAME = false;    \
        return __VA_ARGS__();                  \
    }()

#undef LOCAL_SWITCH
#define LOCAL_SWITCH ASKED_SWITCH
#undef SOFTCAP_SWITCH
#define SOFTCAP_SWITCH ASKED_SWITCH
