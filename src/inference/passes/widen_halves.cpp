// Half-width floats are for memory: the processor computes in float32. Where a model computes in
// halves, its values between are floats here, cast where they enter and where they leave.
//
// A value is rounded to a half where the model says so by a Cast, and before every operator that
// makes something else of a last bit than a last bit (comparisons, ArgMax, Floor, a Cast to an
// integer): those stay as they are.
#include "inference/graph/precision.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Continuous functions of floats: computed wider they are computed better.
constexpr std::string_view computing[] = {"Abs",
                                          "Acos",
                                          "Acosh",
                                          "Add",
                                          "Asin",
                                          "Asinh",
                                          "Atan",
                                          "Atanh",
                                          "Attention",
                                          "AveragePool",
                                          "BatchNormalization",
                                          "Celu",
                                          "Clip",
                                          "Conv",
                                          "ConvTranspose",
                                          "Cos",
                                          "Cosh",
                                          "CumSum",
                                          "Div",
                                          "Einsum",
                                          "Elu",
                                          "Erf",
                                          "Exp",
                                          "GRU",
                                          "Gelu",
                                          "Gemm",
                                          "GlobalAveragePool",
                                          "GlobalLpPool",
                                          "GlobalMaxPool",
                                          "GroupNormalization",
                                          "HardSigmoid",
                                          "HardSwish",
                                          "InstanceNormalization",
                                          "LRN",
                                          "LSTM",
                                          "LayerNormalization",
                                          "LeakyRelu",
                                          "Log",
                                          "LogSoftmax",
                                          "LpNormalization",
                                          "LpPool",
                                          "MatMul",
                                          "Max",
                                          "MaxPool",
                                          "Mean",
                                          "MeanVarianceNormalization",
                                          "Min",
                                          "Mish",
                                          "Mul",
                                          "Neg",
                                          "PRelu",
                                          "Pow",
                                          "RMSNormalization",
                                          "RNN",
                                          "Reciprocal",
                                          "ReduceL1",
                                          "ReduceL2",
                                          "ReduceLogSum",
                                          "ReduceLogSumExp",
                                          "ReduceMax",
                                          "ReduceMean",
                                          "ReduceMin",
                                          "ReduceProd",
                                          "ReduceSum",
                                          "ReduceSumSquare",
                                          "Relu",
                                          "RotaryEmbedding",
                                          "Selu",
                                          "Sigmoid",
                                          "SimplifiedLayerNormalization",
                                          "Sin",
                                          "Sinh",
                                          "Softmax",
                                          "Softplus",
                                          "Softsign",
                                          "Sqrt",
                                          "Sub",
                                          "Sum",
                                          "Swish",
                                          "Tan",
                                          "Tanh",
                                          "ThresholdedRelu"};

constexpr std::string_view computing_microsoft[] = {"Attention",
                                                    "BiasGelu",
                                                    "EmbedLayerNormalization",
                                                    "FastGelu",
                                                    "FusedMatMul",
                                                    "Gelu",
                                                    "GroupQueryAttention",
                                                    "MatMulNBits",
                                                    "MultiHeadAttention",
                                                    "QuickGelu",
                                                    "RotaryEmbedding",
                                                    "SimplifiedLayerNormalization",
                                                    "SkipLayerNormalization",
                                                    "SkipSimplifiedLayerNormalization"};

// Those that hand elements on: wide where what they are given is. Halves move faster.
constexpr std::string_view moving[] = {
    "Concat",    "DepthToSpace", "Dropout",  "Expand", "Flatten",        "Gather",
    "Identity",  "Pad",          "Reshape",  "Resize", "Slice",          "SpaceToDepth",
    "Split",     "Squeeze",      "Tile",     "Trilu",  "GatherElements", "GatherND",
    "Transpose", "Unsqueeze",    "Upsample", "Where"};

bool is_one_of(std::string_view op, const auto& list) {
  return std::find(std::begin(list), std::end(list), op) != std::end(list);
}

bool is_half(element_type type) {
  return type == element_type::float16 || type == element_type::bfloat16;
}

class widening {
 public:
  widening(graph& g, bool bf16_products)
      : g_(g),
        bf16_products_(bf16_products),
        wide_(g.values.size(), no_value),
        made_(g.values.size()) {}

  bool run() {
    std::vector<node> before = std::exchange(g_.nodes, {});
    g_.nodes.reserve(before.size());
    for (node& n : before) {
      if (is_wanted(n)) {
        widen(std::move(n));
        continue;
      }
      // That a value between two nodes is rounded is nothing a model asks for.
      const bool widens = is_widening(n);
      if ((widens || asks_shape(n)) && has_made(n.inputs[0])) {
        n.inputs[0] = wide_[n.inputs[0]];
        changed_ = true;
      } else if (widens && wide_[n.inputs[0]] == no_value) {
        wide_[n.inputs[0]] = n.outputs[0];
      }
      g_.nodes.push_back(std::move(n));
    }
    return changed_;
  }

 private:
  // A Cast from halves to float32.
  bool is_widening(const node& n) const {
    return n.domain.empty() && n.op_type == "Cast" && holds_half(n.inputs[0]) &&
           g_.values[n.outputs[0]].type == element_type::float32;
  }

  static bool asks_shape(const node& n) {
    return n.domain.empty() && (n.op_type == "Shape" || n.op_type == "Size");
  }

  bool holds_half(value_id v) const {
    if (v == no_value || v >= made_.size()) return false;
    return g_.values[v].kind == value_kind::tensor && is_half(g_.values[v].type);
  }

  // Whether the float behind a half is computed, not cast from it.
  bool has_made(value_id v) const { return v < made_.size() && made_[v]; }

  bool is_wanted(const node& n) const {
    if (n.custom || n.captured != 0) return false;
    const auto any = [&](auto holds) {
      return std::any_of(n.inputs.begin(), n.inputs.end(), holds);
    };
    if (!any([&](value_id v) { return holds_half(v); })) return false;
    if (n.domain == "com.microsoft") return is_one_of(n.op_type, computing_microsoft);
    if (!n.domain.empty()) return false;
    if (is_one_of(n.op_type, moving)) return any([&](value_id v) { return has_made(v); });
    // Which of two elements is the greatest may hang on the last bit.
    if (n.op_type == "MaxPool" && n.outputs.size() > 1) return false;
    return is_one_of(n.op_type, computing);
  }

  // A product of bfloat16 with weights: the processor may have it as it is.
  bool stays_bf16(const node& n) const {
    const auto is_bf16 = [&](value_id v) {
      return v < made_.size() && g_.values[v].type == element_type::bfloat16;
    };
    return bf16_products_ && is_product(n) && is_bf16(n.inputs[0]) && is_bf16(n.inputs[1]) &&
           g_.values[n.inputs[1]].constant;
  }

  void widen(node n) {
    if (stays_bf16(n)) ask_bf16(n);
    for (value_id& v : n.inputs) {
      if (holds_half(v)) v = wide(v);
    }
    std::vector<std::pair<value_id, value_id>> made;  // and the half that it stands for
    for (value_id& v : n.outputs) {
      if (!holds_half(v)) continue;
      const value_id half = std::exchange(v, add_wide(v));
      wide_[half] = v;
      made_[half] = true;
      made.emplace_back(v, half);
    }
    g_.nodes.push_back(std::move(n));
    // Dead code unless somebody wants the half.
    for (const auto& [from, half] : made) add_cast(from, half);
    changed_ = true;
  }

  value_id wide(value_id half) {
    if (wide_[half] == no_value) {
      wide_[half] = add_wide(half);
      add_cast(half, wide_[half]);
    }
    return wide_[half];
  }

  value_id add_wide(value_id half) {
    value v = g_.values[half];
    v.name += " as float32";
    v.type = element_type::float32;
    v.constant = nullptr;
    return g_.add_value(std::move(v));
  }

  void add_cast(value_id from, value_id to) {
    node cast;
    cast.op_type = "Cast";
    cast.opset = 13;
    cast.inputs = {from};
    cast.outputs = {to};
    cast.attributes.set("to", static_cast<std::int64_t>(g_.values[to].type));
    g_.nodes.push_back(std::move(cast));
  }

  graph& g_;
  bool bf16_products_;
  std::vector<value_id> wide_;  // of a half, the same as floats
  std::vector<bool> made_;
  bool changed_ = false;
};

}  // namespace

bool widen_halves(graph& g, pass_context& context) {
  return context.host.computes_in_floats() && widening(g, context.host.has_bf16_products()).run();
}

}  // namespace mizzen::inference::detail
