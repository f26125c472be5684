// Tiles: as many consecutive elements as a vector has lanes, and where they are in strided tensors.
#pragma once
#include "kernels.h"
#include "vector.h"

#if defined(__has_builtin)
#define FLOWTORCH_SHUFFLES __has_builtin(__builtin_shufflevector)
#else
#define FLOWTORCH_SHUFFLES 0
#endif

namespace {

using flowtorch::Operand;
using flowtorch::Problem;

// Rows of `size` numbers, `lanes` in all, as one vector: halves are joined in registers, as what is written to memory in
// parts and read as a whole has to wait.
template <class T, int size, int lanes>
struct Rows {
    typedef T V __attribute__((vector_size(lanes * sizeof(T))));
    using Half = Rows<T, size, lanes / 2>;

    static FLOWTORCH_INLINE V load(const T* data, const int64_t* offset) {
        const auto low = Half::load(data, offset), high = Half::load(data, offset + lanes / 2);
#if FLOWTORCH_SHUFFLES
        if constexpr (lanes == 2) {
            return __builtin_shufflevector(low, high, 0, 1);
        } else if constexpr (lanes == 4) {
            return __builtin_shufflevector(low, high, 0, 1, 2, 3);
        } else if constexpr (lanes == 8) {
            return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
        } else {
            return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        }
#else
        V value;
        __builtin_memcpy(&value, &low, sizeof(low));
        __builtin_memcpy(reinterpret_cast<char*>(&value) + sizeof(low), &high, sizeof(high));
        return value;
#endif
    }

    static FLOWTORCH_INLINE void store(V value, T* data, const int64_t* offset) {
        typename Half::V low, high;
        __builtin_memcpy(&low, &value, sizeof(low));
        __builtin_memcpy(&high, reinterpret_cast<const char*>(&value) + sizeof(low), sizeof(high));
        Half::store(low, data, offset);
        Half::store(high, data, offset + lanes / 2);
    }
};

template <class T, int size>
struct Rows<T, size, size> {
    typedef T V __attribute__((vector_size(size * sizeof(T))));

    static FLOWTORCH_INLINE V load(const T* data, const int64_t* offset) {
        V value;
        __builtin_memcpy(&value, data + offset[0], sizeof(value));
        return value;
    }

    static FLOWTORCH_INLINE void store(V value, T* data, const int64_t* offset) {
        __builtin_memcpy(data + offset[0], &value, sizeof(value));
    }
};

// Goes through the elements [begin, end), tile by tile: `for (Tile<T> tile(p, begin, end); tile.next();)`. Within
// one row whose elements lie side by side a vector is loaded at once, as are rows of two, four or eight; otherwise lane by
// lane. The last tile of a row starts early enough to be whole, and what it shares with the tile before is computed twice,
// to the same numbers. Where rows are too short for that, tiles go on in the next row; lanes beyond the last element
// repeat the first one of their tile, and are not stored.
template <class T>
class Tile {
public:
    FLOWTORCH_INLINE Tile(const Problem& problem, int64_t begin, int64_t end)
        : Tile(problem, begin, end, 0, problem.operands) {}

    // For the operands [first, last) only.
    FLOWTORCH_INLINE Tile(const Problem& problem, int64_t begin, int64_t end, int first, int last)
        : problem_(problem), inner_(problem.dims - 1), first_(first), last_(last), begin_(begin), start_(begin), end_(end) {
        for (int d = inner_; d > 0; --d) {
            index_[d] = begin % problem.sizes[d];
            begin /= problem.sizes[d];
        }
        index_[0] = begin;
        find_next();
        aligned_ = begin_ % kLanes<T> == 0 && end % kLanes<T> == 0 && problem.sizes[inner_] % kLanes<T> == 0;
        if (aligned_) {
            set_modes(true, false);
        }
    }

    // Goes to the next tile, if there is one; at first to the first.
    FLOWTORCH_INLINE bool next() {
        start_ += count_;
        if (start_ >= end_) {
            return false;
        }
        place();
        return true;
    }

    // The numbers of operand n, of its bin k if it has bins; zeros if it is not there.
    FLOWTORCH_INLINE Vec<T> load(int n, int64_t k = 0) const {
        const Operand& operand = problem_.operand[n];
        const T* data = static_cast<const T*>(operand.data);
        Vec<T> value{};
        if (data == nullptr) {
            return value;
        }
        data += k * operand.bin_stride;
        if (together_[n]) {
            __builtin_memcpy(&value, data + offset_[n][0], sizeof(value));
            // Bins are far apart, and what is read next lies in as many places as there are bins: the processor does not
            // see the pattern. Without this, tensors beyond the cache take three times as long.
            __builtin_prefetch(data + next_[n]);
        } else if (same_[n]) {
            value += data[offset_[n][0]];  // the gradient of a sum
        } else if (rows_[n]) {
            switch (problem_.sizes[inner_]) {
                case 2: load_rows<2>(value, data, n); break;
                case 4: load_rows<4>(value, data, n); break;
                default: load_rows<8>(value, data, n);
            }
        } else {
            T lanes[kLanes<T>];  // through memory: a lane put into a register costs more
            for (int i = 0; i < kLanes<T>; ++i) {
                lanes[i] = data[offset_[n][i]];
            }
            __builtin_memcpy(&value, lanes, sizeof(value));
        }
        return value;
    }

    FLOWTORCH_INLINE void store(Vec<T> value, int n, int64_t k = 0) const {
        const Operand& operand = problem_.operand[n];
        T* data = static_cast<T*>(operand.data) + k * operand.bin_stride;
        if (together_[n]) {
            __builtin_memcpy(data + offset_[n][0], &value, sizeof(value));
        } else if (rows_[n]) {
            switch (problem_.sizes[inner_]) {
                case 2: store_rows<2>(value, data, n); break;
                case 4: store_rows<4>(value, data, n); break;
                default: store_rows<8>(value, data, n);
            }
        } else {
            T lanes[kLanes<T>];
            __builtin_memcpy(lanes, &value, sizeof(value));
            for (int i = 0; i < stored_; ++i) {
                data[offset_[n][i]] = lanes[i];
            }
        }
    }

private:
    template <int size>
    FLOWTORCH_INLINE void load_rows(Vec<T>& value, const T* data, int n) const {
        if constexpr (size < kLanes<T>) {  // rows_ is never true otherwise
            value = Rows<T, size, kLanes<T>>::load(data, offset_[n]);
        }
    }

    template <int size>
    FLOWTORCH_INLINE void store_rows(const Vec<T>& value, T* data, int n) const {
        if constexpr (size < kLanes<T>) {
            Rows<T, size, kLanes<T>>::store(value, data, offset_[n]);
        }
    }

    // Finds the tile that starts at start_, and moves index_ and next_ behind it.
    FLOWTORCH_INLINE void place() {
        if (aligned_) {
            for (int n = first_; n < last_; ++n) {
                offset_[n][0] = next_[n];
            }
            in_one_row(kLanes<T>);
            return;
        }
        const int64_t size = problem_.sizes[inner_], row = size - index_[inner_], rest = end_ - start_;
        count_ = rest < kLanes<T> ? int(rest) : kLanes<T>;
        const int within = row < count_ ? int(row) : count_;
        const int shared = kLanes<T> - within;
        const bool one_row = shared <= index_[inner_] && shared <= start_ - begin_;
        const bool whole_rows = !one_row && count_ == kLanes<T> && index_[inner_] == 0 && size < kLanes<T> &&
                                (size == 2 || size == 4 || size == 8);
        set_modes(one_row, whole_rows);
        for (int n = first_; n < last_; ++n) {
            offset_[n][0] = next_[n] - (one_row ? shared * problem_.operand[n].strides[inner_] : 0);
        }
        if (one_row) {
            in_one_row(within);
            return;
        }
        const int run = whole_rows ? int(size) : 1;
        for (int i = 0; i < kLanes<T>; i += run) {
            for (int n = first_; n < last_; ++n) {
                offset_[n][i] = i < count_ ? offset(n, index_) : offset_[n][0];
                for (int c = 1; c < run && !rows_[n]; ++c) {
                    offset_[n][i + c] = offset_[n][i] + c * problem_.operand[n].strides[inner_];
                }
            }
            if (i < count_) {
                advance(index_, run);
            }
        }
        find_next();
    }

    // What is left to do for a tile within one row, of which the first offsets are known.
    FLOWTORCH_INLINE void in_one_row(int count) {
        count_ = count;
        for (int n = first_; n < last_; ++n) {
            for (int i = 1; !together_[n] && !same_[n] && i < kLanes<T>; ++i) {
                offset_[n][i] = offset_[n][0] + i * problem_.operand[n].strides[inner_];
            }
        }
        if (index_[inner_] + count < problem_.sizes[inner_]) {  // further on in the row
            index_[inner_] += count;
            for (int n = first_; n < last_; ++n) {
                next_[n] += count * problem_.operand[n].strides[inner_];
            }
            return;
        }
        advance(index_, count);
        find_next();
    }

    FLOWTORCH_INLINE void set_modes(bool one_row, bool whole_rows) {
        stored_ = one_row ? kLanes<T> : count_;
        for (int n = first_; n < last_; ++n) {
            const int64_t stride = problem_.operand[n].strides[inner_];
            together_[n] = one_row && stride == 1;
            same_[n] = one_row && stride == 0;
            rows_[n] = whole_rows && stride == 1;
        }
    }

    FLOWTORCH_INLINE void find_next() {
        for (int n = first_; n < last_; ++n) {
            next_[n] = offset(n, index_);
        }
    }

    FLOWTORCH_INLINE void advance(int64_t* index, int64_t steps) const {
        int d = problem_.dims - 1;
        for (index[d] += steps; d > 0 && index[d] >= problem_.sizes[d]; --d) {
            index[d] -= problem_.sizes[d];
            ++index[d - 1];
        }
    }

    FLOWTORCH_INLINE int64_t offset(int n, const int64_t* index) const {
        int64_t sum = 0;
        for (int d = 0; d < problem_.dims; ++d) {
            sum += index[d] * problem_.operand[n].strides[d];
        }
        return sum;
    }

    const Problem& problem_;
    const int inner_, first_, last_;
    int64_t begin_, start_, end_;
    bool aligned_;  // every tile is within one row
    int count_ = 0;  // how far it is to the next tile
    int stored_;  // how many lanes are stored
    int64_t index_[flowtorch::kMaxDims];  // of the element where that starts
    bool together_[flowtorch::kMaxOperands], rows_[flowtorch::kMaxOperands], same_[flowtorch::kMaxOperands];
    int64_t next_[flowtorch::kMaxOperands];  // and where it is
    int64_t offset_[flowtorch::kMaxOperands][kLanes<T>];
};

// So many tiles at once, where what is computed of one is a chain in which every operation waits for the one before: with
// chains side by side the processor has something to do meanwhile.
constexpr int kTilesTogether = 4;

}  // namespace
