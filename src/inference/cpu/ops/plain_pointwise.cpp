// Element-wise operators without a kernel of their own, and what the fast ones lack of others.
#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// A function of one element that a constructor takes from the attributes.
template <class F>
class map_op final : public plain_op {
 public:
  explicit map_op(const compile_context& c) : f_(c) {}

  void run(const plain_run& r) const override {
    const double* const x = r.in(0).data;
    for (integer i = 0; i < r.out(0).count; ++i) r.out(0).data[i] = f_(x[i]);
  }

 private:
  F f_;
};

struct is_inf {
  explicit is_inf(const compile_context& c)
      : positive(c.n.attributes.get_int("detect_positive", 1) != 0),
        negative(c.n.attributes.get_int("detect_negative", 1) != 0) {}
  double operator()(double x) const noexcept {
    return std::isinf(x) && (x > 0 ? positive : negative) ? 1 : 0;
  }
  bool positive, negative;
};

struct is_nan {
  explicit is_nan(const compile_context&) {}
  double operator()(double x) const noexcept { return std::isnan(x) ? 1 : 0; }
};

struct shrink {
  explicit shrink(const compile_context& c)
      : bias(static_cast<double>(c.n.attributes.get_float("bias", 0))),
        lambda(static_cast<double>(c.n.attributes.get_float("lambd", 0.5F))) {}
  double operator()(double x) const noexcept {
    if (x < -lambda) return x + bias;
    return x > lambda ? x - bias : 0;
  }
  double bias, lambda;
};

// Source: ONNX SwiGLU-28: swish(a) * b.
class swiglu_op final : public plain_op {
 public:
  explicit swiglu_op(const compile_context& c)
      : alpha_(static_cast<double>(c.n.attributes.get_float("alpha", 1))) {}

  void run(const plain_run& r) const override {
    for (integer i = 0; i < r.out(0).count; ++i) {
      const double a = r.in(0).data[i];
      r.out(0).data[i] = a / (1 + std::exp(-alpha_ * a)) * r.in(1).data[i];
    }
  }

 private:
  double alpha_;
};

// A function of two elements, broadcast.
template <class F>
class broadcast_op final : public plain_op {
 public:
  explicit broadcast_op(const compile_context& c) : f_(c) {}

  void run(const plain_run& r) const override {
    const plain_tensor& y = r.out(0);
    std::array<integer, max_rank> at{};
    for (integer i = 0; i < y.count; ++i, next_index(y.shape, at.data())) {
      y.data[i] = f_(r.in(0).data[broadcast_offset(r.in(0), y, at)],
                     r.in(1).data[broadcast_offset(r.in(1), y, at)]);
    }
  }

 private:
  F f_;
};

// The sign is the divisor's, with fmod the dividend's.
struct modulo {
  explicit modulo(const compile_context& c) : fmod(c.n.attributes.get_int("fmod", 0) != 0) {}
  double operator()(double a, double b) const noexcept {
    const double rest = std::fmod(a, b);
    if (fmod) return rest;
    if (rest == 0) return std::copysign(0.0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
  }
  bool fmod;
};

struct power {
  explicit power(const compile_context&) {}
  double operator()(double a, double b) const noexcept { return std::pow(a, b); }
};

struct parametric_relu {
  explicit parametric_relu(const compile_context&) {}
  double operator()(double x, double slope) const noexcept { return x < 0 ? slope * x : x; }
};

class eye_op final : public plain_op {
 public:
  explicit eye_op(const compile_context& c) : shift_(c.n.attributes.get_int("k", 0)) {}

  void run(const plain_run& r) const override {
    const plain_tensor& y = r.out(0);
    for (integer i = 0; i < y.count; ++i) {
      // Compared so that no shift, however large, can overflow.
      const integer row = i / y.dim(1);
      const integer column = i % y.dim(1);
      y.data[i] = column - row == shift_ ? 1 : 0;
    }
  }

 private:
  integer shift_;
};

// OneHot of indices that are no integers.
class one_hot_op final : public plain_op {
 public:
  explicit one_hot_op(const compile_context& c) : axis_(c.n.attributes.get_int("axis", -1)) {}

  void run(const plain_run& r) const override {
    const plain_tensor& y = r.out(0);
    const integer axis = plain_axis(axis_, y.rank());
    const integer depth = y.dim(axis);
    const integer inner = y.extent(axis + 1, y.rank());
    const double off = r.in(2).data[0];
    const double on = r.in(2).data[1];
    for (integer i = 0; i < y.count; ++i) {
      const double given = r.in(0).data[i / (depth * inner) * inner + i % inner];
      const double which = given < 0 ? given + real(depth) : given;
      y.data[i] = which == real(i / inner % depth) ? on : off;
    }
  }

 private:
  integer axis_;
};

}  // namespace

void register_plain_pointwise(op_registry& registry) {
  registry.add_plain("IsInf", {compile_plain<map_op<is_inf>>}, 10);
  registry.add_plain("IsNaN", {compile_plain<map_op<is_nan>>}, 9);
  registry.add_plain("Shrink", {compile_plain<map_op<shrink>>}, 9);
  registry.add_plain("SwiGLU", {compile_plain<swiglu_op>}, 28);
  registry.add_plain("Mod", {compile_plain<broadcast_op<modulo>>}, 10);
  registry.add_plain("Pow", {compile_plain<broadcast_op<power>>}, 7);
  registry.add_plain("PRelu", {compile_plain<broadcast_op<parametric_relu>>}, 7);
  registry.add_plain("EyeLike", {compile_plain<eye_op>}, 9);
  registry.add_plain("OneHot", {compile_plain<one_hot_op>}, 9);
}

}  // namespace mizzen::inference::detail
