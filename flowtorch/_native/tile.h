// Tiles: as many consecutive elements as a vector has lanes, and where they are in strided tensors.
#pragma once
#include "kernels.h"
#include "vector.h"

namespace {

using flowtorch::Operand;
using flowtorch::Problem;

// The tile that starts at an element. Within one row whose elements lie side by side a vector is loaded at once,
// otherwise lane by lane. Lanes beyond the last element repeat the first one, and are not stored.
template <class T>
class Tile {
public:
    FLOWTORCH_INLINE Tile(const Problem& problem, int64_t start, int64_t end) : problem_(problem) {
        count_ = end - start < kLanes<T> ? int(end - start) : kLanes<T>;
        const int inner = problem.dims - 1;
        int64_t index[flowtorch::kMaxDims];
        for (int d = inner; d > 0; --d) {
            index[d] = start % problem.sizes[d];
            start /= problem.sizes[d];
        }
        index[0] = start;
        const bool one_row = count_ == kLanes<T> && index[inner] + kLanes<T> <= problem.sizes[inner];
        for (int n = 0; n < problem.operands; ++n) {
            offset_[n][0] = offset(n, index);
            const int64_t stride = problem.operand[n].strides[inner];
            together_[n] = one_row && stride == 1;
            same_[n] = one_row && stride == 0;
        }
        if (one_row) {
            for (int n = 0; n < problem.operands; ++n) {
                for (int i = 1; !together_[n] && !same_[n] && i < kLanes<T>; ++i) {
                    offset_[n][i] = offset_[n][0] + i * problem.operand[n].strides[inner];
                }
            }
            advance(index, kLanes<T>);
            for (int n = 0; n < problem.operands; ++n) {
                next_[n] = offset(n, index);
            }
            return;
        }
        for (int i = 1; i < kLanes<T>; ++i) {
            if (i < count_) {
                advance(index, 1);
            }
            for (int n = 0; n < problem.operands; ++n) {
                offset_[n][i] = i < count_ ? offset(n, index) : offset_[n][0];
            }
        }
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
        } else {
            T lanes[kLanes<T>];
            __builtin_memcpy(lanes, &value, sizeof(value));
            for (int i = 0; i < count_; ++i) {
                data[offset_[n][i]] = lanes[i];
            }
        }
    }

private:
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
    int count_;
    bool together_[flowtorch::kMaxOperands], same_[flowtorch::kMaxOperands];
    int64_t next_[flowtorch::kMaxOperands];  // of the element after a tile within one row
    int64_t offset_[flowtorch::kMaxOperands][kLanes<T>];
};

}  // namespace
