// Compiled once for each instruction set; FLOWTORCH_TABLE and FLOWTORCH_CAPABILITY name the result.
#include "affine.h"
#include "affine_steps.h"
#include "fixed.h"
#include "masked_step.h"
#include "mixture.h"
#include "product.h"
#include "rational_linear.h"
#include "rational_quadratic.h"
#include "signed_power.h"

namespace {

using flowtorch::Kernel;

template <Kernel onward, Kernel back>
void either(const Problem& p, int64_t begin, int64_t end) {
    (p.inverse ? back : onward)(p, begin, end);
}

template <class T>
constexpr flowtorch::DenseKernels dense_kernels() {
    return {kPanel<T>,         kChunk<T>,  kRowsTogether,        pack_outputs<T>,
            pack_inputs<T>,    product<T>, product_of_points<T>, before_activation<T>};
}

}  // namespace

namespace flowtorch {

// clang-format off
const KernelTable FLOWTORCH_TABLE = {FLOWTORCH_CAPABILITY, {
    {{either<quadratic_forward<float, false>, quadratic_forward<float, true>>,
      either<quadratic_backward<float, false>, quadratic_backward<float, true>>},
     {either<quadratic_forward<double, false>, quadratic_forward<double, true>>,
      either<quadratic_backward<double, false>, quadratic_backward<double, true>>}},
    {{either<linear_forward<float, false>, linear_forward<float, true>>,
      either<linear_backward<float, false>, linear_backward<float, true>>},
     {either<linear_forward<double, false>, linear_forward<double, true>>,
      either<linear_backward<double, false>, linear_backward<double, true>>}},
    {{affine_forward<float>, affine_backward<float>}, {affine_forward<double>, affine_backward<double>}},
    {{mixture_forward<float>, mixture_backward<float>}, {mixture_forward<double>, mixture_backward<double>}},
    {{signed_power_forward<float>, signed_power_backward<float>},
     {signed_power_forward<double>, signed_power_backward<double>}},
    {{fixed<float, false>, fixed<float, true>}, {fixed<double, false>, fixed<double, true>}},
}, {masked_step<float>, masked_step<double>}, {affine_steps<float>, affine_steps<double>},
   {dense_kernels<float>(), dense_kernels<double>()}};
// clang-format on

}  // namespace flowtorch
