// One step of a masked network: the hidden units that are known from here on, and the outputs of its coordinates.
//
// Everything is in rows of one number for all points, so that vectors run along points, and what is known at a step is a
// range of rows. What the steps are is in the program that flowtorch/nn/fused_steps.py writes.
#pragma once
#include "activation.h"

namespace {

using flowtorch::Step;

// out = activation(weight source + bias, and what is in out already) + below
template <class T>
struct Layer {
    const T* weight;
    int64_t weight_stride;
    const T* bias;
    int64_t bias_stride;
    const T* source;
    int64_t known;  // rows of the source
    int64_t points;  // between one row of the source and the next
    T* out;
    int64_t out_stride;
    const T* below = nullptr;
    bool add = false;
    Activation activation = Activation::kNone;
    T slope = T(0);

    // `rows` rows from j on, for `vectors` vectors of points from `point` on: so many as registers hold. They stay there
    // only if loops over them are unrolled.
    template <int rows, int vectors>
    FLOWTORCH_INLINE void tile(int64_t j, int64_t point) const {
        constexpr int lanes = kLanes<T>;
        Vec<T> sum[rows][vectors];
_Pragma("GCC unroll 4")
        for (int r = 0; r < rows; ++r) {
            const T start = bias == nullptr ? T(0) : bias[(j + r) * bias_stride];
_Pragma("GCC unroll 4")
            for (int v = 0; v < vectors; ++v) {
                sum[r][v] = Maths<T>::splat(start);
                if (add) {
                    Vec<T> old;
                    __builtin_memcpy(&old, out + (j + r) * out_stride + point + v * lanes, sizeof(old));
                    sum[r][v] += old;
                }
            }
        }
        for (int64_t k = 0; k < known; ++k) {
            Vec<T> x[vectors];
_Pragma("GCC unroll 4")
            for (int v = 0; v < vectors; ++v) {
                __builtin_memcpy(&x[v], source + k * points + point + v * lanes, sizeof(x[v]));
            }
_Pragma("GCC unroll 4")
            for (int r = 0; r < rows; ++r) {
                const T w = weight[(j + r) * weight_stride + k];
_Pragma("GCC unroll 4")
                for (int v = 0; v < vectors; ++v) {
                    sum[r][v] += w * x[v];
                }
            }
        }
_Pragma("GCC unroll 4")
        for (int r = 0; r < rows; ++r) {
_Pragma("GCC unroll 4")
            for (int v = 0; v < vectors; ++v) {
                Vec<T> y = activated<T>(sum[r][v], activation, slope);
                const int64_t at = (j + r) * out_stride + point + v * lanes;
                if (below != nullptr) {
                    Vec<T> other;
                    __builtin_memcpy(&other, below + at, sizeof(other));
                    y += other;
                }
                __builtin_memcpy(out + at, &y, sizeof(y));
            }
        }
    }

    template <int vectors>
    FLOWTORCH_INLINE void strip(int64_t count, int64_t point) const {
        int64_t j = 0;
        for (; j + 4 <= count; j += 4) {
            tile<4, vectors>(j, point);
        }
        switch (count - j) {
            case 3: tile<3, vectors>(j, point); break;
            case 2: tile<2, vectors>(j, point); break;
            case 1: tile<1, vectors>(j, point);
        }
    }

    FLOWTORCH_INLINE void run(int64_t count, int64_t begin, int64_t end) const {
        constexpr int vectors = FLOWTORCH_BYTES >= 64 ? 4 : 2;  // there are 32 registers, or 16
        constexpr int64_t wide = vectors * kLanes<T>;
        int64_t point = begin;
        for (; point + wide <= end; point += wide) {
            strip<vectors>(count, point);
        }
        for (; point < end; point += kLanes<T>) {
            strip<1>(count, point);
        }
    }
};

template <class T>
void masked_step(const Step& step, int64_t begin, int64_t end) {
    const int64_t points = step.points;
    T* units = static_cast<T*>(step.units);
    T* out = static_cast<T*>(step.out);
    const T* weights = static_cast<const T*>(step.weights);
    const T* biases = static_cast<const T*>(step.biases);
    const int64_t *of_layer = step.of_layers, *now = step.now, *before = step.before;
    const T* source = units;
    int64_t known = now[flowtorch::kKnown];
    for (int64_t l = 0; l < step.layers; ++l, of_layer += flowtorch::kOfLayer) {
        const int64_t first = before == nullptr ? 0 : before[flowtorch::kUnits + l], last = now[flowtorch::kUnits + l];
        const int64_t start = of_layer[0], weight = of_layer[1], width = of_layer[2], bias = of_layer[3];
        T* own = units + start * points;
        Layer<T> layer{weights + weight + first * width, width,  biases + bias + first,  1,
                     source,                           known,  points,                 own + first * points, points};
        layer.below = step.residual && l > 0 ? source + first * points : nullptr;
        layer.add = step.context && l == 0;
        layer.activation = Activation(step.activation);
        layer.slope = T(step.slope);
        layer.run(last - first, begin, end);
        source = own;
        known = last;
    }
    // The rows of a block of the last layer: all of its coordinates for the first output, then for the next.
    const int64_t here = now[flowtorch::kHere], block = now[flowtorch::kBlock], from = now[flowtorch::kFrom];
    for (int64_t c = 0; c < here; ++c) {
        T* to = out + c * points;
        const T* bias = biases + now[flowtorch::kBias] + from + c;
        if (step.layers > 0) {
            const int64_t width = now[flowtorch::kWidth];
            const T* weight = weights + now[flowtorch::kWeight] + (from + c) * width;
            Layer<T>{weight, block * width, bias, block, source, known, points, to, here * points}.run(
                step.outputs, begin, end);
        }
        if (now[flowtorch::kSkipWeight] >= 0) {
            const int64_t width = now[flowtorch::kSkipWidth];
            const T* weight = weights + now[flowtorch::kSkipWeight] + (from + c) * width;
            Layer<T> layer{weight, block * width, step.layers > 0 ? nullptr : bias,
                         block,  units,         now[flowtorch::kKnown],
                         points, to,            here * points};
            layer.add = step.layers > 0;
            layer.run(step.outputs, begin, end);
        }
    }
}

}  // namespace
