// Random numbers: RandomNormal, RandomUniform, their …Like, Bernoulli, Multinomial, and Dropout in
// training mode.
//
// Every run of a node draws the same numbers: sessions are deterministic and their kernels hold no
// state. They are those of NumPy's RandomState (Mersenne twister) of the node's attribute "seed";
// without one, of a number made from the node's name and operator.
#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace mizzen::inference::detail {
namespace {

class generator {
 public:
  explicit generator(std::uint32_t seed) : twister_(seed) {}

  // In [0, 1), of 53 random bits.
  double uniform() {
    const auto high = static_cast<double>(twister_() >> 5);
    const auto low = static_cast<double>(twister_() >> 6);
    return (high * 67108864.0 + low) / 9007199254740992.0;
  }

  // Marsaglia's polar method.
  double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    double a = 0;
    double b = 0;
    double square = 0;
    do {
      a = 2 * uniform() - 1;
      b = 2 * uniform() - 1;
      square = a * a + b * b;
    } while (square >= 1 || square == 0);
    const double factor = std::sqrt(-2 * std::log(square) / square);
    spare_ = factor * a;
    has_spare_ = true;
    return factor * b;
  }

 private:
  std::mt19937 twister_;
  double spare_ = 0;
  bool has_spare_ = false;
};

std::uint32_t seed_of(const compile_context& c) {
  if (const attribute_value* given = c.n.attributes.find("seed")) {
    if (const auto* number = std::get_if<std::int64_t>(given)) {
      return static_cast<std::uint32_t>(*number);
    }
    const double seed = static_cast<double>(c.n.attributes.get_float("seed", 0));
    if (std::isfinite(seed)) {
      return static_cast<std::uint32_t>(static_cast<std::int64_t>(std::fmod(seed, 4294967296.0)));
    }
  }
  // FNV-1a.
  std::uint32_t hash = 2166136261U;
  for (const std::string& text : {c.n.name, c.n.op_type}) {
    for (const char ch : text) hash = (hash ^ static_cast<unsigned char>(ch)) * 16777619U;
  }
  return hash;
}

class normal_op final : public plain_op {
 public:
  explicit normal_op(const compile_context& c)
      : seed_(seed_of(c)),
        mean_(static_cast<double>(c.n.attributes.get_float("mean", 0))),
        scale_(static_cast<double>(c.n.attributes.get_float("scale", 1))) {}

  void run(const plain_run& r) const override {
    generator random(seed_);
    for (integer i = 0; i < r.out(0).count; ++i) {
      r.out(0).data[i] = mean_ + scale_ * random.normal();
    }
  }

 private:
  std::uint32_t seed_;
  double mean_, scale_;
};

class uniform_op final : public plain_op {
 public:
  explicit uniform_op(const compile_context& c)
      : seed_(seed_of(c)),
        low_(static_cast<double>(c.n.attributes.get_float("low", 0))),
        high_(static_cast<double>(c.n.attributes.get_float("high", 1))) {}

  void run(const plain_run& r) const override {
    generator random(seed_);
    for (integer i = 0; i < r.out(0).count; ++i) {
      r.out(0).data[i] = low_ + (high_ - low_) * random.uniform();
    }
  }

 private:
  std::uint32_t seed_;
  double low_, high_;
};

class bernoulli_op final : public plain_op {
 public:
  explicit bernoulli_op(const compile_context& c) : seed_(seed_of(c)) {}

  void run(const plain_run& r) const override {
    generator random(seed_);
    for (integer i = 0; i < r.out(0).count; ++i) {
      r.out(0).data[i] = random.uniform() < r.in(0).data[i] ? 1 : 0;
    }
  }

 private:
  std::uint32_t seed_;
};

// Draws classes from rows of unnormalised log probabilities.
class multinomial_op final : public plain_op {
 public:
  explicit multinomial_op(const compile_context& c) : seed_(seed_of(c)) {}

  void run(const plain_run& r) const override {
    generator random(seed_);
    const integer classes = r.in(0).dim(1);
    const integer samples = r.out(0).dim(1);
    if (classes == 0) throw error(errc::invalid_argument, "input 0", "it has no classes");
    for (integer i = 0; i < r.out(0).count; ++i) {
      const double* const row = r.in(0).data + i / samples * classes;
      const double top = *std::max_element(row, row + classes);
      double sum = 0;
      for (integer k = 0; k < classes; ++k) sum += std::exp(row[k] - top);
      double left = random.uniform() * sum;
      integer which = 0;
      while (which < classes - 1 && (left -= std::exp(row[which] - top)) >= 0) ++which;
      r.out(0).data[i] = real(which);
    }
  }

 private:
  std::uint32_t seed_;
};

// data, ratio, training_mode.
class dropout_op final : public plain_op {
 public:
  explicit dropout_op(const compile_context& c)
      : seed_(seed_of(c)), ratio_(static_cast<double>(c.n.attributes.get_float("ratio", 0.5F))) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const bool training = r.in(2).present() && r.in(2).data[0] != 0;
    const double ratio = r.in(1).present() ? r.in(1).data[0] : ratio_;
    if (!(ratio >= 0 && ratio < 1)) {
      throw error(errc::invalid_argument, "ratio", "it must be at least 0 and less than 1");
    }
    generator random(seed_);
    for (integer i = 0; i < x.count; ++i) {
      const bool keep = !training || ratio == 0 || random.uniform() >= ratio;
      r.out(0).data[i] = !training ? x.data[i] : keep ? x.data[i] / (1 - ratio) : 0;
      if (r.out(1).present()) r.out(1).data[i] = keep ? 1 : 0;
    }
  }

 private:
  std::uint32_t seed_;
  double ratio_;
};

}  // namespace

void register_plain_random(op_registry& registry) {
  registry.add_plain("RandomNormal", {compile_plain<normal_op>});
  registry.add_plain("RandomNormalLike", {compile_plain<normal_op>});
  registry.add_plain("RandomUniform", {compile_plain<uniform_op>});
  registry.add_plain("RandomUniformLike", {compile_plain<uniform_op>});
  registry.add_plain("Bernoulli", {compile_plain<bernoulli_op>}, 15);
  registry.add_plain("Multinomial", {compile_plain<multinomial_op>}, 7);
  registry.add_plain("Dropout", {compile_plain<dropout_op>}, 12);
}

}  // namespace mizzen::inference::detail
