// The inverse of an affine autoregressive map: all steps of its masked network, one after the other.
#pragma once
#include "affine.h"
#include "masked_step.h"

namespace {

template <class T>
void affine_steps(const Step& first, const Problem& options, void* logs, int64_t count, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    Step step = first;
    const int64_t points = step.points;
    for (int64_t s = 0; s < count; ++s) {
        masked_step<T>(step, begin, end);
        const int64_t known = step.now[flowtorch::kKnown], here = step.now[flowtorch::kHere];
        for (int64_t c = 0; c < here; ++c) {
            const T* loc = static_cast<const T*>(step.out) + c * points;
            T* value = static_cast<T*>(step.units) + (known + c) * points;
            T* log = static_cast<T*>(logs) + (known + c) * points;
            for (int64_t point = begin; point < end; point += kLanes<T>) {
                const V place = load(loc + point), raw = load(loc + here * points + point);
                const V log_s = -LogScales<T, 1>(&raw, options, false).value[0];
                V x = M::exp(log_s) * (load(value + point) - place);
                x = options.gated ? x + place : x;
                __builtin_memcpy(value + point, &x, sizeof(x));
                __builtin_memcpy(log + point, &log_s, sizeof(log_s));
            }
        }
        step.before = step.now;
        step.now += flowtorch::kUnits + step.layers;
    }
}

}  // namespace
