// What the kernels and the code that registers them have in common. Nothing of torch is needed here.
#pragma once
#include <cstdint>

namespace flowtorch {

constexpr int kMaxDims = 16;      // after dimensions that lie one behind the other in memory have been joined
constexpr int kMaxBins = 128;     // the exponentials of a tile's bins are kept on the stack
constexpr int kMaxOperands = 12;  // the backward of the rational linear spline has this many

// One tensor: strides of the dimensions that all share and, where it has one, of the axis of the bins.
struct Operand {
    void* data = nullptr;  // null for a gradient that is zero, or is not wanted
    int64_t strides[kMaxDims] = {};
    int64_t bin_stride = 0;
};

// All that a kernel is told. Options are in the order of the schema in register.cpp.
struct Problem {
    int64_t count = 0;  // how many elements
    int dims = 0;
    int64_t sizes[kMaxDims] = {};
    int operands = 0;
    Operand operand[kMaxOperands];
    int64_t bins = 0;
    bool ends = false;  // whether the derivatives at the ends of the box are given
    double options[8] = {};
    int64_t scale_fn = 0;
    int64_t kind = 0;  // which of the fixed maps, or of the distributions that are mixed
    bool gated = false, clamp_values = false, centred = false, inverse = false;
};

// Works on the elements [begin, end).
using Kernel = void (*)(const Problem&, int64_t begin, int64_t end);

// One step of a masked network, see masked_step.h. All offsets are in numbers, or in rows of `units`.
struct Step {
    void *units, *out;
    const void *weights, *biases;
    int64_t points;  // the length of a row
    int64_t layers, outputs;
    const int64_t* of_layers;     // of each layer: where its units start, its weights, their columns, its biases
    const int64_t *now, *before;  // of this step and, if there is one, that before: what Field names, then kUnits
    int64_t activation;
    double slope;
    bool residual, context;
};
constexpr int kOfLayer = 4, kPointsTogether = 16;
enum Field {
    kKnown,                   // coordinates before this step
    kHere,                    // coordinates of this step
    kBlock, kFrom,            // coordinates in its block of the last layer, and of them those before this step
    kWeight, kWidth, kBias,   // where weights of the block start, their columns, where its biases start
    kSkipWeight, kSkipWidth,  // the same of the skip connections; -1 if there are none
    kUnits                    // of each layer: units known at this step
};
using StepKernel = void (*)(const Step&, int64_t begin, int64_t end);
struct Problem;
// All of `count` steps, each followed by the inverse of the affine map that `options` describe: the first rows of `units`
// are what it is the inverse of, and become what it is; the logarithms of derivatives go to rows of `logs`.
using StepsKernel = void (*)(
    const Step&, const Problem& options, void* logs, int64_t count, int64_t begin, int64_t end);

// The products of dense layers, see product.h and dense.h. Strides are in numbers; of rows, columns lie side by side.
struct Range {
    int64_t first, last;
};
struct Weights {
    const void *weight, *mask;  // (outputs, inputs); the mask, null for none, is contiguous
    const int64_t* reaches;     // how many inputs each output may read, null for all: beyond, the mask is zero
    int64_t weight_row, outputs, inputs;

    int64_t reach(int64_t output) const { return reaches == nullptr ? inputs : reaches[output]; }
};
struct Product {  // c = activation((a b + start + add) * times)
    const void *a, *b, *start, *add, *times;  // the start is in the order of the panels
    void* c;
    int64_t a_row, a_step;  // between rows of the result, and along what is summed; one of them is 1
    int64_t b_row, add_row, times_row, c_row, rows, columns;
    const Range* ranges;  // what is summed, panel by panel, the first of each panel in range_of
    const int64_t *range_of, *offsets;
    const int64_t* places;            // the column of each chunk of a panel, null if they are in order
    const int64_t *groups, *limits;   // of gradients of weights: rows that go together, and the columns of each row
    int64_t points;
    int64_t activation;
    double slope;
};
struct Packed {  // panels, see Product
    void* numbers;
    Range* ranges;
    int64_t *range_of, *offsets;
};
struct Gradient {
    const void *gradient, *y;
    void *to, *sum;  // `to` is null where there is no activation
    int64_t gradient_row, columns, points, activation;
    double slope;
};
using Pack = void (*)(const Weights&, const int64_t* places, Packed&);
struct DenseKernels {
    int64_t panel, chunk, rows_together;
    Pack pack_outputs, pack_inputs;
    void (*product)(const Product&, int64_t begin, int64_t end);
    void (*product_of_points)(const Product&, int64_t begin, int64_t end);
    void (*before_activation)(const Gradient&, int64_t begin, int64_t end);
};

enum Op { kRationalQuadratic, kRationalLinear, kAffine, kMixture, kSignedPower, kFixed, kOps };

// The kernels compiled for one instruction set; of ops by [op][is double][is backward].
struct KernelTable {
    const char* capability;
    Kernel kernel[kOps][2][2];
    StepKernel step[2];        // by [is double]
    StepsKernel affine_steps[2];
    DenseKernels dense[2];
};

extern const KernelTable kDefaultKernels;
#if defined(__x86_64__)
extern const KernelTable kAvx2Kernels, kAvx512Kernels;
#endif

}  // namespace flowtorch
