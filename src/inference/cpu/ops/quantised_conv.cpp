// Operators on bytes that passes/fuse_quantised_graph.cpp and passes/assign_layout.cpp make.
#include "inference/cpu/kernels/broadcast.hpp"
#include "inference/cpu/kernels/int8_conv.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/window_attributes.hpp"
#include "inference/graph/channels_last.hpp"
#include "inference/transpose.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace mizzen::inference::detail {
namespace {

std::shared_ptr<const tensor> needed_constant(const compile_context& c, std::size_t input) {
  auto t = c.constant(input);
  if (!t) c.unsupported("needs constant weights, scales and zero points");
  return t;
}

float number(const compile_context& c, std::size_t input) {
  const auto t = needed_constant(c, input);
  if (t->type() != element_type::float32 || t->size() != 1) c.unsupported("needs one scale");
  return t->data<float>()[0];
}

std::int32_t byte(const compile_context& c, std::size_t input) {
  const auto t = needed_constant(c, input);
  if (t->type() != element_type::uint8 || t->size() != 1) c.unsupported("needs one uint8 zero");
  return t->data<std::uint8_t>()[0];
}

// What the nodes have beside ONNX's inputs: bounds of the output, and a table it goes through.
void read_steps(const compile_context& c, cpu::int8_requantise& o) {
  const attribute_map& a = c.n.attributes;
  o.low = static_cast<std::int32_t>(std::clamp<std::int64_t>(a.get_int("low", 0), 0, 255));
  o.high = static_cast<std::int32_t>(std::clamp<std::int64_t>(a.get_int("high", 255), 0, 255));
  if (const auto table = a.get_tensor("table")) {
    if (table->type() != element_type::uint8 || table->size() != 256) {
      c.invalid("attribute table must be 256 bytes");
    }
    o.table.assign(table->data<std::uint8_t>().begin(), table->data<std::uint8_t>().end());
  }
}

// Inputs from `x` on: x, its scale and zero point, weights, their scales and zero points, y's scale
// and zero point, as QLinearConv and QLinearMatMul have them; a bias of int32 at `bias`. The zero
// points of weights are such that they are numbers of int8 about 0.
cpu::int8_requantise read_scales(const compile_context& c, std::size_t channels, std::size_t bias) {
  cpu::int8_requantise o;
  const float x_scale = number(c, 1);
  const float y_scale = number(c, 6);
  o.x_zero = byte(c, 2);
  o.zero = byte(c, 7);
  const auto scales = needed_constant(c, 4);
  if (scales->type() != element_type::float32) c.unsupported("needs scales of float32");
  for (const float s : scales->data<float>()) {
    const double factor = static_cast<double>(x_scale) * static_cast<double>(s);
    o.factors.push_back(static_cast<float>(factor / static_cast<double>(y_scale)));
  }
  if (o.factors.size() != 1 && o.factors.size() != channels) c.invalid("its scales do not fit");
  if (c.has_input(bias)) {
    const auto b = needed_constant(c, bias);
    if (b->type() != element_type::int32 || b->size() != channels) c.invalid("a bias not of int32");
    o.bias.assign(b->data<std::int32_t>().begin(), b->data<std::int32_t>().end());
  }
  read_steps(c, o);
  return o;
}

// Those of int8, or of uint8 about 128.
std::vector<std::int8_t> signed_weights(const compile_context& c) {
  const auto w = needed_constant(c, 3);
  std::vector<std::int8_t> numbers(w->size());
  if (!has_int8_weights(*w, *needed_constant(c, 5))) c.unsupported("other zero points of weights");
  std::memcpy(numbers.data(), w->bytes().data(), numbers.size());
  if (w->type() == element_type::uint8) {
    for (std::int8_t& v : numbers) v = static_cast<std::int8_t>(static_cast<int>(v) ^ -128);
  }
  return numbers;
}

class qlinear_conv_kernel final : public kernel {
 public:
  explicit qlinear_conv_kernel(const compile_context& c)
      : attributes_(c, needed_constant(c, 3)->rank() - 2, 3) {
    const auto& w = needed_constant(c, 3)->shape();
    base_.groups = static_cast<std::size_t>(c.n.attributes.get_int("group", 1));
    base_.out_channels = static_cast<std::size_t>(w[0]);
    base_.in_channels = static_cast<std::size_t>(w[1]) * base_.groups;
    kernel_.assign(w.begin() + 2, w.end());
    cpu::channels_last_shape known = base_;
    known.window = attributes_.over_channels_last(dims(w.size(), 0), dims(w.size(), 0), kernel_);
    if (!cpu::takes_int8(known)) c.unsupported("such channels");
    if (c.input_type(0) != element_type::uint8) c.unsupported("other than uint8");
    convolution_.emplace(cpu::best_int8(), known, signed_weights(c).data(),
                         read_scales(c, base_.out_channels, 8));
  }

  bool reads_input(std::size_t input) const override { return input == 0; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return convolution_->scratch_bytes(shape_of(c.inputs[0], c.outputs[0]), c.threads);
  }

  void run(const run_context& c) const override {
    if (c.outputs[0].count == 0) return;
    convolution_->run(c.pool, shape_of(c.inputs[0], c.outputs[0]),
                      c.inputs[0].as<const std::uint8_t>(), c.outputs[0].as<std::uint8_t>(),
                      c.scratch.data());
  }

 private:
  cpu::channels_last_shape shape_of(const value_view& x, const value_view& y) const {
    cpu::channels_last_shape shape = base_;
    shape.batch = static_cast<std::size_t>(x.shape[0]);
    shape.window = attributes_.over_channels_last(x.shape, y.shape, kernel_);
    return shape;
  }

  window_attributes attributes_;
  cpu::channels_last_shape base_;
  dims kernel_;
  std::optional<cpu::int8_convolution> convolution_;
};

// Rows are the pixels of a pointwise convolution.
class qlinear_matmul_kernel final : public kernel {
 public:
  explicit qlinear_matmul_kernel(const compile_context& c) {
    const auto w = needed_constant(c, 3);
    if (c.input_type(0) != element_type::uint8 || w->rank() != 2) c.unsupported("such operands");
    base_.in_channels = static_cast<std::size_t>(w->shape()[0]);
    base_.out_channels = static_cast<std::size_t>(w->shape()[1]);
    const std::vector<std::int8_t> given = signed_weights(c);
    std::vector<std::int8_t> turned(given.size());
    transpose(given.data(), base_.in_channels, base_.out_channels, turned.data());
    convolution_.emplace(cpu::best_int8(), base_, turned.data(),
                         read_scales(c, base_.out_channels, 8));
  }

  bool reads_input(std::size_t input) const override { return input == 0; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return convolution_->scratch_bytes(shape_of(c.inputs[0]), c.threads);
  }

  void run(const run_context& c) const override {
    if (c.outputs[0].count == 0) return;
    convolution_->run(c.pool, shape_of(c.inputs[0]), c.inputs[0].as<const std::uint8_t>(),
                      c.outputs[0].as<std::uint8_t>(), c.scratch.data());
  }

 private:
  cpu::channels_last_shape shape_of(const value_view& x) const {
    cpu::channels_last_shape shape = base_;
    shape.window.axes[2].in = shape.window.axes[2].out = 1;
    shape.batch = product(x.shape, 0, x.shape.size() - 1);
    return shape;
  }

  cpu::channels_last_shape base_;
  std::optional<cpu::int8_convolution> convolution_;
};

// y = table[x]: x, table of 256.
class byte_table_kernel final : public kernel {
 public:
  explicit byte_table_kernel(const compile_context& c) {
    const auto table = needed_constant(c, 1);
    if (c.input_type(0) != element_type::uint8 || table->type() != element_type::uint8 ||
        table->size() != 256) {
      c.invalid("a table must be 256 bytes");
    }
    std::copy_n(table->data<std::uint8_t>().begin(), 256, table_.begin());
  }

  bool reads_input(std::size_t input) const override { return input == 0; }
  bool may_overwrite(std::size_t input) const override { return input == 0; }

  void run(const run_context& c) const override {
    const auto* x = c.inputs[0].as<const std::uint8_t>();
    auto* y = c.outputs[0].as<std::uint8_t>();
    c.pool.parallel_for(c.outputs[0].count, cpu::element_grain,
                        [&](std::size_t begin, std::size_t end) {
                          table().look_up(table_.data(), x + begin, end - begin, y + begin);
                        });
  }

 private:
  static const cpu::int8_table& table() noexcept { return cpu::best_int8(); }
  std::array<std::uint8_t, 256> table_{};
};

// a, its scale and zero point, b, its scale and zero point, y's scale and zero point; attributes
// low and high.
class byte_pair_kernel final : public kernel {
 public:
  explicit byte_pair_kernel(const compile_context& c) {
    if (c.input_type(0) != element_type::uint8 || c.input_type(3) != element_type::uint8) {
      c.unsupported("other than uint8");
    }
    const double a = static_cast<double>(number(c, 1));
    const double b = static_cast<double>(number(c, 4));
    const double y = static_cast<double>(number(c, 6));
    pair_.product = c.n.op_type == "QLinearMul";
    pair_.a_zero = byte(c, 2);
    pair_.b_zero = byte(c, 5);
    pair_.a_factor = static_cast<float>(pair_.product ? a * b / y : a / y);
    pair_.b_factor = static_cast<float>(b / y);
    cpu::int8_requantise bounds;
    read_steps(c, bounds);
    pair_.out.zero = byte(c, 7);
    pair_.out.low = static_cast<float>(bounds.low - pair_.out.zero);
    pair_.out.high = static_cast<float>(bounds.high - pair_.out.zero);
    table_ = std::move(bounds.table);
  }

  bool reads_input(std::size_t input) const override { return input == 0 || input == 3; }
  bool may_overwrite(std::size_t input) const override { return input == 0 || input == 3; }

  void run(const run_context& c) const override {
    const auto* a = c.inputs[0].as<const std::uint8_t>();
    const auto* b = c.inputs[3].as<const std::uint8_t>();
    auto* y = c.outputs[0].as<std::uint8_t>();
    const cpu::int8_table& table = cpu::best_int8();
    const cpu::broadcast_plan<2> plan(c.outputs[0].shape, {c.inputs[0].shape, c.inputs[3].shape});
    cpu::for_each_run(c.pool, plan,
                      [&](std::size_t at, const std::array<std::size_t, 2>& from,
                          const std::array<std::size_t, 2>& step, std::size_t n) {
                        table.combine(pair_, a + from[0], step[0], b + from[1], step[1], n, y + at);
                        if (!table_.empty()) table.look_up(table_.data(), y + at, n, y + at);
                      });
  }

 private:
  cpu::int8_pair pair_;
  std::vector<std::uint8_t> table_;
};

// MaxPool of bytes over channels that lie last.
class byte_pool_kernel final : public kernel {
 public:
  explicit byte_pool_kernel(const compile_context& c)
      : attributes_(c, c.n.attributes.get_ints("kernel_shape").size(), 3) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    const cpu::window_3d w = attributes_.over_channels_last(x.shape, y.shape);
    const auto& [d, h, v] = w.axes;
    const auto channels = static_cast<std::size_t>(x.shape[x.shape.size() - 1]);
    const std::size_t work = v.out * w.taps() * channels;
    const cpu::int8_table& table = cpu::best_int8();
    c.pool.parallel_for(
        static_cast<std::size_t>(x.shape[0]) * d.out * h.out, cpu::element_grain / (work + 1) + 1,
        [&](std::size_t begin, std::size_t end) {
          for (std::size_t line = begin; line < end; ++line) {
            auto* to = y.as<std::uint8_t>() + line * v.out * channels;
            const std::size_t image = line / h.out / d.out * d.in;
            std::fill_n(to, v.out * channels, std::uint8_t{0});
            for (std::size_t kd = 0; kd < d.kernel; ++kd) {
              const std::ptrdiff_t id = d.input(line / h.out % d.out, kd);
              for (std::size_t kh = 0; kh < h.kernel; ++kh) {
                const std::ptrdiff_t ih = h.input(line % h.out, kh);
                if (!d.inside(id) || !h.inside(ih)) continue;
                const auto* from =
                    x.as<const std::uint8_t>() +
                    ((image + static_cast<std::size_t>(id)) * h.in + static_cast<std::size_t>(ih)) *
                        v.in * channels;
                for (std::size_t kw = 0; kw < v.kernel; ++kw) {
                  const auto inside = v.outputs_inside(kw);
                  for (std::size_t o = inside.first; o < inside.last; ++o) {
                    const auto at = static_cast<std::size_t>(v.input(o, kw)) * channels;
                    table.greatest(from + at, channels, to + o * channels);
                  }
                }
              }
            }
          }
        });
  }

 private:
  window_attributes attributes_;
};

template <class Kernel>
std::unique_ptr<kernel> compile(const compile_context& c) {
  return std::make_unique<Kernel>(c);
}

}  // namespace

std::unique_ptr<kernel> compile_byte_pool(const compile_context& c) {
  return compile<byte_pool_kernel>(c);
}

void register_quantised_conv_ops(op_registry& registry) {
  registry.add("QLinearConv", {compile<qlinear_conv_kernel>}, 1, any_opset, channels_last_domain);
  registry.add("QLinearMatMul", {compile<qlinear_matmul_kernel>}, 10);
  registry.add("QLinearMatMul", {compile<qlinear_matmul_kernel>}, 1, any_opset, mizzen_domain);
  registry.add("ByteTable", {compile<byte_table_kernel>}, 1, any_opset, mizzen_domain);
  registry.add("QLinearAdd", {compile<byte_pair_kernel>}, 1, any_opset, mizzen_domain);
  registry.add("QLinearMul", {compile<byte_pair_kernel>}, 1, any_opset, mizzen_domain);
}

}  // namespace mizzen::inference::detail
