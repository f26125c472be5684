// Products of matrices that skip what a mask makes zero, with what a dense layer does before and after.
//
// The right factor comes in panels of so many columns as two registers hold; a tile, so many rows of the left factor
// times one panel, stays in registers. Of each panel only some ranges of rows are there: a mask in the order of its
// steps leaves a prefix.
#pragma once
#include "activation.h"

namespace {

using flowtorch::Gradient;
using flowtorch::Product;
using flowtorch::Range;
using flowtorch::Weights;

template <class T>
constexpr int kPanel = 2 * kLanes<T>;
// As many as keep the units that multiply busy, and, with those of a panel, stay in registers. Batches are often powers
// of two.
constexpr int kTileRows = FLOWTORCH_BYTES == 64 ? 8 : 6;

// `count` of a panel's columns, the others zero.
template <class T>
FLOWTORCH_INLINE void load_panel(const T* from, int64_t count, Vec<T>* to) {
    if (count == kPanel<T>) {
        to[0] = load(from);
        to[1] = load(from + kLanes<T>);
        return;
    }
    T columns[kPanel<T>] = {};
    for (int64_t i = 0; i < count; ++i) {
        columns[i] = from[i];
    }
    to[0] = load(columns);
    to[1] = load(columns + kLanes<T>);
}

template <class T>
FLOWTORCH_INLINE void store_panel(const Vec<T>* from, int64_t count, T* to) {
    if (count == kPanel<T>) {
        __builtin_memcpy(to, from, 2 * sizeof(*from));
        return;
    }
    T columns[kPanel<T>];
    __builtin_memcpy(columns, from, sizeof(columns));
    for (int64_t i = 0; i < count; ++i) {
        to[i] = columns[i];
    }
}

// `rows` rows from `row` on, times panel number `panel`.
template <class T, int rows>
FLOWTORCH_INLINE void tile_of(const Product& p, int64_t row, int64_t panel, const T* b, const Range* range, const Range* end) {
    constexpr int lanes = kLanes<T>;
    Vec<T> sum[rows][2] = {};
    const T* a = static_cast<const T*>(p.a) + row * p.a_row;
    const auto add = [&](const T* from, int64_t step_of_rows, int64_t step) {
        for (int64_t count = range->last - range->first; count > 0; --count) {
            const Vec<T> left = load(b), right = load(b + lanes);
_Pragma("GCC unroll 8")
            for (int r = 0; r < rows; ++r) {
                const Vec<T> factor = Maths<T>::splat(from[r * step_of_rows]);
                sum[r][0] += factor * left;
                sum[r][1] += factor * right;
            }
            from += step;
            b += p.b_row;
        }
    };
    for (; range != end; ++range) {
        if (p.a_row == 1) {  // constants, for the compiler
            add(a + range->first * p.a_step, 1, p.a_step);
        } else {
            add(a + range->first, p.a_row, 1);
        }
    }
    const int64_t column = panel * kPanel<T>;
    const int64_t count = p.columns - column < kPanel<T> ? p.columns - column : kPanel<T>;
    Vec<T> start[2] = {}, more[2];
    if (p.start != nullptr) {
        load_panel(static_cast<const T*>(p.start) + column, count, start);
    }
    T* c = static_cast<T*>(p.c) + row * p.c_row + column;
    const bool rectified = Activation(p.activation) == Activation::kReLU;
    if (count == kPanel<T> && p.add == nullptr && p.times == nullptr && (rectified || p.activation == 0)) {
        // The usual layer, unrolled: sums that are counted by a variable would have to leave their registers.
_Pragma("GCC unroll 8")
        for (int r = 0; r < rows; ++r) {
            for (int half = 0; half < 2; ++half) {
                Vec<T> y = sum[r][half] + start[half];
                y = rectified ? activated<T>(y, Activation::kReLU, T(0)) : y;
                __builtin_memcpy(c + r * p.c_row + half * lanes, &y, sizeof(y));
            }
        }
        return;
    }
    for (int r = 0; r < rows; ++r) {
        sum[r][0] += start[0];
        sum[r][1] += start[1];
        if (p.add != nullptr) {
            load_panel(static_cast<const T*>(p.add) + (row + r) * p.add_row + column, count, more);
            sum[r][0] += more[0];
            sum[r][1] += more[1];
        }
        if (p.times != nullptr) {
            load_panel(static_cast<const T*>(p.times) + (row + r) * p.times_row + column, count, more);
            sum[r][0] *= more[0];
            sum[r][1] *= more[1];
        }
        sum[r][0] = activated<T>(sum[r][0], Activation(p.activation), T(p.slope));
        sum[r][1] = activated<T>(sum[r][1], Activation(p.activation), T(p.slope));
        store_panel(sum[r], count, c + r * p.c_row);
    }
}

template <class T, int rows>
void tile(const Product& p, int64_t row, int64_t panel, const T* b, const Range* range, const Range* end) {
    tile_of<T, rows>(p, row, panel, b, range, end);
}

template <class T>
FLOWTORCH_INLINE void tiles(
    const Product& p, int64_t begin, int64_t end, int64_t panel, const T* b, const Range* first, const Range* last) {
    for (; begin + kTileRows <= end; begin += kTileRows) {
        tile<T, kTileRows>(p, begin, panel, b, first, last);
    }
    for (; begin + 2 <= end; begin += 2) {
        tile<T, 2>(p, begin, panel, b, first, last);
    }
    for (; begin < end; ++begin) {
        tile<T, 1>(p, begin, panel, b, first, last);
    }
}

// The rows [begin, end) of c. Panels outside, rows inside: a panel stays in the first cache.
template <class T>
void product(const Product& p, int64_t begin, int64_t end) {
    for (int64_t panel = 0; panel * kPanel<T> < p.columns; ++panel) {
        const T* b = static_cast<const T*>(p.b) + p.offsets[panel];
        tiles<T>(p, begin, end, panel, b, p.ranges + p.range_of[panel], p.ranges + p.range_of[panel + 1]);
    }
}

// The rows [begin, end) of the gradient of weights: of each, the columns that it may read. The sum goes over the points,
// so many at a time as caches hold.
template <class T>
void product_of_points(const Product& p, int64_t begin, int64_t end) {
    constexpr int64_t kTogether = 256;
    Product part = p;
    const int64_t whole = p.columns / kPanel<T>, rest = p.columns % kPanel<T>;
    T last[kTogether * kPanel<T>];  // the columns after the last whole panel
    for (int64_t point = 0; point < p.points; point += kTogether) {
        const Range range{0, p.points - point < kTogether ? p.points - point : kTogether};
        const T* b = static_cast<const T*>(p.b) + point * p.b_row;
        part.a = static_cast<const T*>(p.a) + point * p.a_step;
        part.add = point > 0 ? p.c : nullptr;
        part.times = point + kTogether < p.points ? nullptr : p.times;
        if (rest > 0) {
            for (int64_t i = 0; i < range.last; ++i) {
                Vec<T> columns[2];
                load_panel(b + i * p.b_row + whole * kPanel<T>, rest, columns);
                store_panel(columns, kPanel<T>, last + i * kPanel<T>);
            }
        }
        for (int64_t panel = 0; panel * kPanel<T> < p.columns; ++panel) {
            const T* from = panel < whole ? b + panel * kPanel<T> : last;
            part.b_row = panel < whole ? p.b_row : kPanel<T>;
            for (int64_t row = begin, next; row < end; row = next) {
                next = row + kTileRows < end ? row + kTileRows : end;
                bool any = false;
                for (int64_t n = row; n < next; ++n) {
                    any |= p.reaches[n] > panel * kPanel<T>;
                }
                if (any) {
                    tiles<T>(part, row, next, panel, from, &range, &range + 1);
                } else if (point == 0) {
                    const int64_t first = panel * kPanel<T>, left = p.columns - first;
                    for (int64_t n = row; n < next; ++n) {
                        const Vec<T> nothing[2] = {};
                        store_panel(
                            nothing, left < kPanel<T> ? left : kPanel<T>, static_cast<T*>(p.c) + n * p.c_row + first);
                    }
                }
            }
        }
    }
}

// Columns [begin, end), in panels, of the gradient before an activation, and of its sum over all points.
template <class T>
void before_activation(const Gradient& g, int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
        const int64_t first = panel * kPanel<T>, left = g.columns - first;
        const int64_t count = left < kPanel<T> ? left : kPanel<T>;
        Vec<T> sum[2] = {}, part[2] = {}, gradient[2], y[2];
        for (int64_t point = 0; point < g.points; ++point) {
            if (point % 64 == 0) {  // in parts: a long sum loses digits
                sum[0] += part[0];
                sum[1] += part[1];
                part[0] = part[1] = Vec<T>{};
            }
            load_panel(static_cast<const T*>(g.gradient) + point * g.gradient_row + first, count, gradient);
            if (g.to != nullptr) {
                load_panel(static_cast<const T*>(g.y) + point * g.columns + first, count, y);
                gradient[0] *= slope_at<T>(y[0], Activation(g.activation), T(g.slope));
                gradient[1] *= slope_at<T>(y[1], Activation(g.activation), T(g.slope));
                store_panel(gradient, count, static_cast<T*>(g.to) + point * g.columns + first);
            }
            part[0] += gradient[0];
            part[1] += gradient[1];
        }
        sum[0] += part[0];
        sum[1] += part[1];
        store_panel(sum, count, static_cast<T*>(g.sum) + first);
    }
}

// How many inputs each row of the weights may read: up to the last that is not masked.
template <class T>
void reach(const Weights& layer, int64_t* to) {
    for (int64_t n = 0; n < layer.outputs; ++n) {
        int64_t k = layer.inputs;
        if (layer.mask != nullptr) {
            const T* mask = static_cast<const T*>(layer.mask) + n * layer.inputs;
            constexpr int kTogether = 32 / sizeof(T);
            for (uint64_t bits[4]; k >= kTogether; k -= kTogether) {
                __builtin_memcpy(bits, mask + k - kTogether, sizeof(bits));
                if ((bits[0] | bits[1] | bits[2] | bits[3]) != 0) {
                    break;
                }
            }
            while (k > 0 && mask[k - 1] == T(0)) {
                --k;
            }
        }
        to[n] = k;
    }
}

// The panels of the weights' transpose, masked, a row for each input that one of the panel's outputs may read.
template <class T>
void pack_outputs(
    const Weights& layer, const int64_t* reaches, Range* ranges, int64_t* range_of, int64_t* offsets, void* packed) {
    T* to = static_cast<T*>(packed);
    int64_t offset = 0, panel = 0;
    for (int64_t first = 0; first < layer.outputs; ++panel, first += kPanel<T>) {
        const int64_t count = layer.outputs - first < kPanel<T> ? layer.outputs - first : kPanel<T>;
        int64_t known = 0;
        for (int64_t n = first; n < first + count; ++n) {
            known = reaches[n] > known ? reaches[n] : known;
        }
        offsets[panel] = offset;
        range_of[panel] = panel;
        ranges[panel] = {0, known};
        for (int64_t n = 0; n < kPanel<T>; ++n) {
            T* column = to + offset + n;
            const T* weight = static_cast<const T*>(layer.weight) + (first + n) * layer.weight_row;
            const T* mask = static_cast<const T*>(layer.mask) + (first + n) * layer.inputs;
            for (int64_t k = 0; k < known; ++k) {
                column[k * kPanel<T>] = n >= count ? T(0) : layer.mask == nullptr ? weight[k] : weight[k] * mask[k];
            }
        }
        offset += known * kPanel<T>;
    }
    range_of[panel] = panel;
}

// The panels of the weights, masked, a row for each output that may read one of the panel's inputs.
template <class T>
void pack_inputs(
    const Weights& layer, const int64_t* reaches, Range* ranges, int64_t* range_of, int64_t* offsets, void* packed) {
    T* to = static_cast<T*>(packed);
    int64_t row = 0, found = 0, panel = 0;
    for (int64_t first = 0; first < layer.inputs; ++panel, first += kPanel<T>) {
        const int64_t count = layer.inputs - first < kPanel<T> ? layer.inputs - first : kPanel<T>;
        offsets[panel] = row * kPanel<T>;
        range_of[panel] = found;
        for (int64_t n = 0; n < layer.outputs; ++n) {
            if (reaches[n] <= first) {
                continue;
            }
            if (found > range_of[panel] && ranges[found - 1].last == n) {
                ranges[found - 1].last = n + 1;
            } else {
                ranges[found++] = {n, n + 1};
            }
            Vec<T> both[2], factors[2];
            load_panel(static_cast<const T*>(layer.weight) + n * layer.weight_row + first, count, both);
            if (layer.mask != nullptr) {
                load_panel(static_cast<const T*>(layer.mask) + n * layer.inputs + first, count, factors);
                both[0] *= factors[0];
                both[1] *= factors[1];
            }
            store_panel(both, kPanel<T>, to + row++ * kPanel<T>);
        }
    }
    range_of[panel] = found;
}

}  // namespace
