// One call of an operator: its tensors checked, results allocated, work handed to torch's threads.
#pragma once
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "kernels.h"

namespace flowtorch {
namespace {

using torch::stable::Tensor;
using Maybe = std::optional<Tensor>;
using torch::headeronly::ScalarType;

// The best table that the processor can run and the environment allows: the variable is torch's own.
const KernelTable& kernels() {
    static const KernelTable& table = []() -> const KernelTable& {
#if defined(__x86_64__)
        const char* wanted = std::getenv("ATEN_CPU_CAPABILITY");
        const bool only_default = wanted != nullptr && std::strcmp(wanted, "default") == 0;
        const bool at_most_avx2 = wanted != nullptr && std::strcmp(wanted, "avx2") == 0;
        __builtin_cpu_init();
        const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
        if (avx512 && !only_default && !at_most_avx2) {
            return kAvx512Kernels;
        }
        if (avx2 && !only_default) {
            return kAvx2Kernels;
        }
#endif
        return kDefaultKernels;
    }();
    return table;
}

// The tensors of one call, which all have the shape of `x`; those with bins have one more axis, the last one.
class Call {
public:
    explicit Call(const Tensor& x) : x_(x), is_double_(x.scalar_type() == ScalarType::Double) {
        STD_TORCH_CHECK(
            is_double_ || x.scalar_type() == ScalarType::Float, "flowtorch: float32 or float64 is expected.");
        STD_TORCH_CHECK(x.dim() <= kMaxDims, "flowtorch: at most ", kMaxDims, " dimensions are expected.");
        const auto sizes = x.sizes();
        problem.dims = int(x.dim());
        problem.count = x.numel();
        for (int d = 0; d < problem.dims; ++d) {
            problem.sizes[d] = sizes[d];
        }
    }

    void input(const Tensor& tensor, std::optional<int64_t> bins = std::nullopt) {
        const auto sizes = tensor.sizes();
        bool fits = tensor.dim() == problem.dims + (bins ? 1 : 0) && tensor.scalar_type() == x_.scalar_type() &&
                    tensor.device().is_cpu() && (!bins || sizes[problem.dims] == *bins);
        for (int d = 0; fits && d < problem.dims; ++d) {
            fits = sizes[d] == problem.sizes[d];
        }
        STD_TORCH_CHECK(fits, "flowtorch: tensors of one dtype on the CPU are expected, all of the shape of the first, "
                              "those with bins with one axis more.");
        add(tensor, bins.has_value());
    }

    void input(const Maybe& tensor) {
        if (tensor) {
            input(*tensor);
        } else {
            add_operand();
        }
    }

    // A result like `like`, contiguous, with the axis of the bins before the last of the others: vectors are then stored
    // at once, and conditioners give their parameters like this.
    Tensor output(const Tensor& like, bool has_bins = false) {
        const auto sizes = like.sizes();
        const int dims = int(like.dim());
        std::vector<int> order(dims);
        for (int d = 0; d < dims; ++d) {
            order[d] = d;
        }
        if (has_bins && dims > 1) {
            std::swap(order[dims - 1], order[dims - 2]);
        }
        std::vector<int64_t> strides(dims);
        int64_t stride = 1;
        for (int i = dims - 1; i >= 0; --i) {
            strides[order[i]] = stride;
            stride *= sizes[order[i]] > 0 ? sizes[order[i]] : 1;
        }
        int32_t dtype, device_type;
        STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
        STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
        AtenTensorHandle handle;
        STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
            dims, sizes.data(), strides.data(), dtype, device_type, like.get_device_index(), &handle));
        Tensor result(handle);
        add(result, has_bins);
        return result;
    }

    // Gradients of parameters as parts of one tensor, one behind the other on the axis before the last: as conditioners
    // give the parameters.
    Tensor joined_outputs(const Tensor& x, const std::vector<const Tensor*>& parameters) {
        STD_TORCH_CHECK(problem.dims > 0, "flowtorch: coordinates on the last axis are expected.");
        const int64_t size = problem.sizes[problem.dims - 1];
        std::vector<int64_t> sizes(problem.sizes, problem.sizes + problem.dims), starts;
        int64_t total = 0;
        for (const Tensor* parameter : parameters) {
            starts.push_back(total * size);
            total += parameter->sizes()[problem.dims];
        }
        sizes.insert(sizes.end() - 1, total);
        Tensor whole = torch::stable::new_empty(x, sizes);
        for (int64_t start : starts) {
            Operand& operand = add_operand();
            operand.data = static_cast<char*>(whole.data_ptr()) + start * (is_double_ ? sizeof(double) : sizeof(float));
            int64_t stride = size * total;
            for (int d = problem.dims - 2; d >= 0; --d) {
                operand.strides[d] = stride;
                stride *= problem.sizes[d];
            }
            operand.strides[problem.dims - 1] = 1;
            operand.bin_stride = size;
        }
        return whole;
    }

    void run(Op op, bool backward) {
        if (problem.count == 0) {
            return;
        }
        join_dimensions();
        const Kernel kernel = kernels().kernel[op][is_double_][backward];
        // A thread takes this many elements at least; whole tiles, whatever the width of a vector.
        constexpr int64_t kGrain = 1024;
        const int64_t grains = (problem.count + kGrain - 1) / kGrain;
        torch::stable::parallel_for(0, grains, 1, [&](int64_t begin, int64_t end) {
            const int64_t last = end * kGrain;
            kernel(problem, begin * kGrain, last < problem.count ? last : problem.count);
        });
    }

    Problem problem;

private:
    Operand& add_operand() {
        STD_TORCH_CHECK(problem.operands < kMaxOperands, "flowtorch: too many tensors.");
        return problem.operand[problem.operands++] = Operand{};
    }

    void add(const Tensor& tensor, bool has_bins) {
        Operand& operand = add_operand();
        operand.data = tensor.data_ptr();
        const auto strides = tensor.strides();
        for (int d = 0; d < problem.dims; ++d) {
            operand.strides[d] = strides[d];
        }
        if (has_bins) {
            operand.bin_stride = strides[problem.dims];
        }
    }

    // Joins neighbouring dimensions that are one in every tensor, so that rows are long, and drops those of size 1.
    void join_dimensions() {
        int kept = 0;
        for (int d = 0; d < problem.dims; ++d) {
            if (problem.sizes[d] == 1) {
                continue;
            }
            bool joins = kept > 0;
            for (int n = 0; joins && n < problem.operands; ++n) {
                const int64_t* strides = problem.operand[n].strides;
                joins = strides[kept - 1] == strides[d] * problem.sizes[d];
            }
            const int to = joins ? kept - 1 : kept++;
            problem.sizes[to] = joins ? problem.sizes[to] * problem.sizes[d] : problem.sizes[d];
            for (int n = 0; n < problem.operands; ++n) {
                problem.operand[n].strides[to] = problem.operand[n].strides[d];
            }
        }
        if (kept == 0) {
            kept = 1;
            problem.sizes[0] = 1;
            for (int n = 0; n < problem.operands; ++n) {
                problem.operand[n].strides[0] = 1;
            }
        }
        problem.dims = kept;
    }

    const Tensor& x_;
    const bool is_double_;
};

}  // namespace
}  // namespace flowtorch
