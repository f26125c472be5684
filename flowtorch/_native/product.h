// Products of matrices that skip what a mask makes zero, with what a dense layer does before and after.
//
// The right factor comes in panels of so many columns as two registers hold; a tile, so many rows of the left factor
// times one panel, stays in registers. Of each panel only some ranges of rows are there: a mask in the order of its
// steps leaves a prefix.
#pragma once
#include "activation.h"
#include "tile.h"

namespace {

using flowtorch::Gradient;
using flowtorch::Packed;
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

// Columns may stand in a panel in another order than in the result, so many together.
template <class T>
constexpr int kChunk = kLanes<T> < 4 ? kLanes<T> : 4;

// Where the columns of a panel stand in a row of the result.
template <class T>
struct Columns {
    const int64_t* places;  // of each chunk; null where all stand side by side
    int64_t first, count;

    FLOWTORCH_INLINE Columns(const Product& p, int64_t panel)
        : places(p.places == nullptr ? nullptr : p.places + panel * (kPanel<T> / kChunk<T>)), first(panel * kPanel<T>),
          count(p.columns - first < kPanel<T> ? p.columns - first : kPanel<T>) {}

    FLOWTORCH_INLINE int64_t at(int64_t i) const {
        return places == nullptr ? first + i : places[i / kChunk<T>] + i % kChunk<T>;
    }

    FLOWTORCH_INLINE void load(const T* row, Vec<T>* to) const {
        if (places == nullptr) {
            return load_panel(row + first, count, to);
        }
        T columns[kPanel<T>] = {};
        for (int64_t i = 0; i < count; ++i) {
            columns[i] = row[at(i)];
        }
        load_panel(columns, kPanel<T>, to);
    }

    FLOWTORCH_INLINE void store(const Vec<T>* from, T* row) const {
        if (places == nullptr) {
            return store_panel(from, count, row + first);
        }
        T columns[kPanel<T>];
        store_panel(from, kPanel<T>, columns);
        for (int64_t i = 0; i < count; ++i) {
            row[at(i)] = columns[i];
        }
    }
};

// Chunks of a vector of so many lanes, each to its place; halves leave a register at less cost than what is in memory.
template <class T, int lanes>
FLOWTORCH_INLINE void store_chunks(const typename Rows<T, lanes, lanes>::V& y, T* row, const int64_t* places) {
    if constexpr (lanes == kChunk<T>) {
        __builtin_memcpy(row + places[0], &y, sizeof(y));
    } else {
        typename Rows<T, lanes / 2, lanes / 2>::V half;
        __builtin_memcpy(&half, &y, sizeof(half));
        store_chunks<T, lanes / 2>(half, row, places);
        __builtin_memcpy(&half, reinterpret_cast<const char*>(&y) + sizeof(half), sizeof(half));
        store_chunks<T, lanes / 2>(half, row, places + lanes / 2 / kChunk<T>);
    }
}

// Makes all but the first `count` numbers of a panel's row zero.
template <class T>
FLOWTORCH_INLINE void keep_first(int64_t count, Vec<T>* numbers) {
    T indices[kLanes<T>];
    for (int i = 0; i < kLanes<T>; ++i) {
        indices[i] = T(i);
    }
    const Vec<T> index = load(indices);
    for (int half = 0; half < 2; ++half) {
        const Mask<T> within = index < T(count - half * kLanes<T>);
        numbers[half] = Maths<T>::select(within, numbers[half], Vec<T>{});
    }
}

// So many rows may stand apart from those after them in a tile.
constexpr int kRowsTogether = 4;

// What is done to the sums of a tile before they are stored.
template <class T>
__attribute__((noinline)) void finish(
    const Product& p, const Columns<T>& columns, int64_t row, int64_t jump, int rows, Vec<T>* sums) {
    Vec<T> start[2] = {}, more[2];
    if (p.start != nullptr) {
        load_panel(static_cast<const T*>(p.start) + columns.first, kPanel<T>, start);
    }
    for (int r = 0; r < rows; ++r) {
        Vec<T>* sum = sums + 2 * r;
        const int64_t at = row + r + (r < kRowsTogether ? 0 : jump);
        sum[0] += start[0];
        sum[1] += start[1];
        if (p.add != nullptr) {
            columns.load(static_cast<const T*>(p.add) + at * p.add_row, more);
            sum[0] += more[0];
            sum[1] += more[1];
        }
        if (p.times != nullptr) {
            columns.load(static_cast<const T*>(p.times) + at * p.times_row, more);
            sum[0] *= more[0];
            sum[1] *= more[1];
        }
        if (p.limits != nullptr) {
            keep_first<T>(p.limits[at] - columns.first, sum);
        }
        sum[0] = activated<T>(sum[0], Activation(p.activation), T(p.slope));
        sum[1] = activated<T>(sum[1], Activation(p.activation), T(p.slope));
        columns.store(sum, static_cast<T*>(p.c) + at * p.c_row);
    }
}

// `rows` rows from `row` on, of which those after the first four are `jump` further on, times panel number `panel`.
template <class T, int rows>
FLOWTORCH_INLINE void tile_of(
    const Product& p, int64_t row, int64_t jump, int64_t panel, const T* b, const Range* range, const Range* end) {
    constexpr int lanes = kLanes<T>;
    Vec<T> sum[rows][2] = {};
    const auto at = [&](int r) { return r < kRowsTogether ? r : r + jump; };
    const T* a = static_cast<const T*>(p.a) + row * p.a_row;
    const auto add = [&](const T* from, int64_t step_of_rows, int64_t step) {
        for (int64_t count = range->last - range->first; count > 0; --count) {
            const Vec<T> left = load(b), right = load(b + lanes);
_Pragma("GCC unroll 8")
            for (int r = 0; r < rows; ++r) {
                const Vec<T> factor = Maths<T>::splat(from[step_of_rows == 1 ? at(r) : r * step_of_rows]);
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
    const Columns<T> columns(p, panel);
    const bool rectified = Activation(p.activation) == Activation::kReLU;
    if (columns.count == kPanel<T> && p.add == nullptr && p.limits == nullptr && (rectified || p.activation == 0)) {
        // The usual layer.
        T* c = static_cast<T*>(p.c) + row * p.c_row;
        Vec<T> start[2] = {};
        if (p.start != nullptr) {
            load_panel(static_cast<const T*>(p.start) + columns.first, kPanel<T>, start);
        }
_Pragma("GCC unroll 8")
        for (int r = 0; r < rows; ++r) {
            for (int half = 0; half < 2; ++half) {
                Vec<T> y = sum[r][half] + start[half];
                y = rectified ? activated<T>(y, Activation::kReLU, T(0)) : y;
                T* to = c + r * p.c_row;
                if (columns.places == nullptr) {
                    __builtin_memcpy(to + columns.first + half * lanes, &y, sizeof(y));
                } else {
                    store_chunks<T, lanes>(y, to, columns.places + half * (lanes / kChunk<T>));
                }
            }
        }
        return;
    }
    // Not in here: what is counted by a variable has to be in memory, and would be from the start.
    Vec<T> sums[2 * rows];
_Pragma("GCC unroll 16")
    for (int i = 0; i < 2 * rows; ++i) {
        sums[i] = sum[i / 2][i % 2];
    }
    finish<T>(p, columns, row, jump, rows, sums);
}

template <class T, int rows>
void tile(
    const Product& p, int64_t row, int64_t jump, int64_t panel, const T* b, const Range* range, const Range* end) {
    tile_of<T, rows>(p, row, jump, panel, b, range, end);
}

template <class T>
FLOWTORCH_INLINE void tiles(
    const Product& p, int64_t begin, int64_t end, int64_t panel, const T* b, const Range* first, const Range* last) {
    for (; begin + kTileRows <= end; begin += kTileRows) {
        tile<T, kTileRows>(p, begin, 0, panel, b, first, last);
    }
    for (; begin + 2 <= end; begin += 2) {
        tile<T, 2>(p, begin, 0, panel, b, first, last);
    }
    for (; begin < end; ++begin) {
        tile<T, 1>(p, begin, 0, panel, b, first, last);
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

// Zeros to the columns of rows [begin, end).
template <class T>
FLOWTORCH_INLINE void clear(const Product& p, int64_t begin, int64_t end, int64_t first) {
    const int64_t left = p.columns - first;
    const Vec<T> nothing[2] = {};
    for (int64_t n = begin; n < end; ++n) {
        store_panel(nothing, left < kPanel<T> ? left : kPanel<T>, static_cast<T*>(p.c) + n * p.c_row + first);
    }
}

// Groups [begin, end) of rows of the gradient of weights: of each row, the columns that it may read. Groups are in the
// order of what they read, so that two of them make a tile. The sum goes over the points, so many at a time as caches
// hold.
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
            const int64_t first = panel * kPanel<T>;
            const T* from = panel < whole ? b + first : last;
            part.b_row = panel < whole ? p.b_row : kPanel<T>;
            const auto reads = [&](int64_t group) {
                const int64_t row = p.groups[group];
                for (int64_t n = row; n < row + kRowsTogether && n < p.rows; ++n) {
                    if (p.limits[n] > first) {
                        return true;
                    }
                }
                return false;
            };
            for (int64_t group = begin; group < end; ++group) {
                const int64_t row = p.groups[group], to = row + kRowsTogether;
                if (!reads(group)) {
                    if (point == 0) {
                        clear<T>(p, row, to < p.rows ? to : p.rows, first);
                    }
                    continue;
                }
                if constexpr (kTileRows == 2 * kRowsTogether) {
                    const int64_t other = group + 1 < end ? p.groups[group + 1] : p.rows;
                    if (to <= p.rows && other + kRowsTogether <= p.rows && reads(group + 1)) {
                        tile<T, 2 * kRowsTogether>(part, row, other - to, panel, from, &range, &range + 1);
                        ++group;
                        continue;
                    }
                }
                if (to <= p.rows) {
                    tile<T, kRowsTogether>(part, row, 0, panel, from, &range, &range + 1);
                } else {
                    for (int64_t n = row; n < p.rows; ++n) {
                        tile<T, 1>(part, n, 0, panel, from, &range, &range + 1);
                    }
                }
            }
        }
    }
}

// Columns [begin, end), in panels, of the gradient before an activation, and of its sum over all points: of so many points
// together, as a long sum loses digits, and of all columns of those, which lie side by side.
template <class T>
void before_activation(const Gradient& g, int64_t begin, int64_t end) {
    constexpr int64_t kTogether = 64;
    for (int64_t start = 0; start == 0 || start < g.points; start += kTogether) {
        const int64_t stop = start + kTogether < g.points ? start + kTogether : g.points;
        for (int64_t panel = begin; panel < end; ++panel) {
            const int64_t first = panel * kPanel<T>, left = g.columns - first;
            const int64_t count = left < kPanel<T> ? left : kPanel<T>;
            Vec<T> sum[2] = {}, part[2] = {}, gradient[2], y[2];
            for (int64_t point = start; point < stop; ++point) {
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
            if (start > 0) {
                load_panel(static_cast<const T*>(g.sum) + first, count, sum);
            }
            sum[0] += part[0];
            sum[1] += part[1];
            store_panel(sum, count, static_cast<T*>(g.sum) + first);
        }
    }
}

// One of the weights, masked.
template <class T>
FLOWTORCH_INLINE T number(const Weights& layer, int64_t row, int64_t column) {
    if (column >= layer.reach(row)) {
        return T(0);
    }
    const T weight = static_cast<const T*>(layer.weight)[row * layer.weight_row + column];
    return layer.mask == nullptr ? weight : weight * static_cast<const T*>(layer.mask)[row * layer.inputs + column];
}

// Four numbers of each of four rows of weights, transposed: four of each of their columns.
template <class T>
FLOWTORCH_INLINE void transpose(const Weights& layer, int64_t row, int64_t column, T* to) {
#if FLOWTORCH_SHUFFLES
    typedef T Four __attribute__((vector_size(4 * sizeof(T))));
    Four rows[4];
_Pragma("GCC unroll 4")
    for (int i = 0; i < 4; ++i) {
        __builtin_memcpy(
            &rows[i], static_cast<const T*>(layer.weight) + (row + i) * layer.weight_row + column, sizeof(Four));
        if (layer.mask != nullptr) {
            Four factors;
            __builtin_memcpy(
                &factors, static_cast<const T*>(layer.mask) + (row + i) * layer.inputs + column, sizeof(Four));
            rows[i] *= factors;
        }
    }
    const Four a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
    const Four b = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
    const Four c = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
    const Four d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
    const Four columns[4] = {
        __builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
        __builtin_shufflevector(c, d, 0, 1, 4, 5), __builtin_shufflevector(c, d, 2, 3, 6, 7)};
_Pragma("GCC unroll 4")
    for (int k = 0; k < 4; ++k) {
        __builtin_memcpy(to + k * kPanel<T>, &columns[k], sizeof(Four));
    }
#else
    for (int i = 0; i < 4; ++i) {
        for (int k = 0; k < 4; ++k) {
            to[k * kPanel<T> + i] = number<T>(layer, row + i, column + k);
        }
    }
#endif
}

// The panels of the weights' transpose, masked, a row for each input that one of the panel's outputs may read.
template <class T>
void pack_outputs(const Weights& layer, const int64_t* places, Packed& packed) {
    T* to = static_cast<T*>(packed.numbers);
    int64_t offset = 0, panel = 0;
    for (int64_t first = 0; first < layer.outputs; ++panel, first += kPanel<T>) {
        int64_t known = 0;
        for (int64_t n = first; n < first + kPanel<T> && n < layer.outputs; ++n) {
            const int64_t reach = layer.reach(places[n / kChunk<T>] + n % kChunk<T>);
            known = reach > known ? reach : known;
        }
        packed.offsets[panel] = offset;
        packed.range_of[panel] = panel;
        packed.ranges[panel] = {0, known};
        for (int64_t i = 0; i < kPanel<T>; i += kChunk<T>) {
            const int64_t left = layer.outputs - first - i;
            T* column = to + offset + i;
            const int64_t row = left > 0 ? places[(first + i) / kChunk<T>] : 0;
            int64_t k = 0, all = known;  // all rows of the chunk read so many
            for (int64_t n = 0; n < kChunk<T> && n < left; ++n) {
                all = layer.reach(row + n) < all ? layer.reach(row + n) : all;
            }
            if (kChunk<T> == 4 && left >= 4) {
                for (; k + 4 <= all; k += 4) {
                    transpose<T>(layer, row, k, column + k * kPanel<T>);
                }
            }
            for (; k < known; ++k) {
                for (int64_t n = 0; n < kChunk<T>; ++n) {
                    column[k * kPanel<T> + n] = n < left ? number<T>(layer, row + n, k) : T(0);
                }
            }
        }
        offset += known * kPanel<T>;
    }
    packed.range_of[panel] = panel;
}

// The panels of the weights, masked, a row for each output that may read one of the panel's inputs.
template <class T>
void pack_inputs(const Weights& layer, const int64_t*, Packed& packed) {
    T* to = static_cast<T*>(packed.numbers);
    Range* ranges = packed.ranges;
    int64_t row = 0, found = 0, panel = 0;
    for (int64_t first = 0; first < layer.inputs; ++panel, first += kPanel<T>) {
        const int64_t count = layer.inputs - first < kPanel<T> ? layer.inputs - first : kPanel<T>;
        packed.offsets[panel] = row * kPanel<T>;
        packed.range_of[panel] = found;
        for (int64_t n = 0; n < layer.outputs; ++n) {
            if (layer.reach(n) <= first) {
                continue;
            }
            if (found > packed.range_of[panel] && ranges[found - 1].last == n) {
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
            if (layer.reach(n) < first + count) {
                keep_first<T>(layer.reach(n) - first, both);
            }
            store_panel(both, kPanel<T>, to + row++ * kPanel<T>);
        }
    }
    packed.range_of[panel] = found;
}

}  // namespace
