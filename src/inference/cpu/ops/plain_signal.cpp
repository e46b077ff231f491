// DFT, STFT, window functions and MelWeightMatrix.
#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <numbers>

namespace mizzen::inference::detail {
namespace {

using complex = std::complex<double>;

// Fourier transforms of any length in n log n: by halves where it is a power of two, else as a
// convolution of such a length (Bluestein).
class fourier {
 public:
  explicit fourier(integer n)
      : n_(n),
        padded_(static_cast<integer>(std::bit_ceil(static_cast<std::uint64_t>(2 * n - 1)))) {}

  // In place. inverse: with the other sign; not scaled. memory: 2 bit_ceil(2n - 1) + n numbers.
  void operator()(complex* x, bool inverse, complex* memory) const {
    if (simple()) return halves(x, n_, inverse);
    complex* const a = memory;
    complex* const b = a + padded_;
    complex* const chirp = b + padded_;
    std::fill_n(a, 2 * padded_, complex{});
    for (integer i = 0; i < n_; ++i) {
      // i² modulo 2n keeps the angle exact.
      const auto square = static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(i);
      const double angle = std::numbers::pi *
                           static_cast<double>(square % static_cast<std::uint64_t>(2 * n_)) /
                           real(n_);
      chirp[i] = std::polar(1.0, inverse ? angle : -angle);
      a[i] = x[i] * chirp[i];
      b[i] = std::conj(chirp[i]);
      if (i != 0) b[padded_ - i] = b[i];
    }
    halves(a, padded_, false);
    halves(b, padded_, false);
    for (integer i = 0; i < padded_; ++i) a[i] *= b[i];
    halves(a, padded_, true);
    for (integer i = 0; i < n_; ++i) x[i] = a[i] * chirp[i] / real(padded_);
  }

 private:
  bool simple() const noexcept { return std::has_single_bit(static_cast<std::uint64_t>(n_)); }

  static void halves(complex* x, integer n, bool inverse) noexcept {
    for (integer i = 1, j = 0; i < n; ++i) {
      integer bit = n >> 1;
      for (; (j & bit) != 0; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) std::swap(x[i], x[j]);
    }
    for (integer length = 2; length <= n; length *= 2) {
      const double angle = (inverse ? 2 : -2) * std::numbers::pi / real(length);
      for (integer k = 0; k < length / 2; ++k) {
        const complex turn = std::polar(1.0, angle * real(k));
        for (integer i = k; i < n; i += length) {
          const complex odd = x[i + length / 2] * turn;
          x[i + length / 2] = x[i] - odd;
          x[i] += odd;
        }
      }
    }
  }

  integer n_, padded_;
};

// Source: ONNX DFT-20; 17 has the axis as an attribute. The last dimension holds the parts of a
// number: 1 for real ones, 2 for complex ones.
class dft_op final : public plain_op {
 public:
  explicit dft_op(const compile_context& c)
      : old_(c.n.opset < 20),
        axis_(c.n.attributes.get_int("axis", old_ ? 1 : -2)),
        inverse_(c.n.attributes.get_int("inverse", 0) != 0),
        onesided_(c.n.attributes.get_int("onesided", 0) != 0) {}

  std::size_t workspace(const shape_context& c) const override {
    integer most = 1;
    for (const auto* views : {&c.inputs[0], &c.outputs[0]}) {
      for (const integer d : views->shape) most = std::max(most, d);
    }
    // A one-sided spectrum has about half of the transform's length; dft_length shortens it only.
    const integer n = 2 * most;
    return 2 *
           static_cast<std::size_t>(
               n + 2 * static_cast<integer>(std::bit_ceil(static_cast<std::uint64_t>(2 * n))) + n);
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& y = r.out(0);
    if (y.count == 0) return;
    integer chosen = axis_;
    if (!old_ && r.in(2).present()) chosen = r.in(2).number(0, -x.rank(), x.rank() - 2, "axis");
    const integer axis = plain_axis(chosen, x.rank());
    const integer held = x.dim(axis);
    integer n = inverse_ && onesided_ ? 2 * (held - 1) : held;
    if (r.in(1).present()) n = r.in(1).number(0, 1, 2 * std::max(held, y.dim(axis)), "dft_length");
    if (n < 1) throw error(errc::invalid_argument, "input 0", "it has no elements");
    const fourier transform(n);
    complex* const line = reinterpret_cast<complex*>(r.workspace);
    complex* const memory = line + n;
    const integer parts = x.dim(-1);
    const integer out_parts = y.dim(-1);
    const integer inner = x.extent(axis + 1, x.rank() - 1);
    const integer out_held = y.dim(axis);
    patience left(r);
    for (integer l = 0; l < x.extent(0, axis) * inner; ++l) {
      const integer outer = l / inner;
      left.spend(32 * n);
      const double* const from = x.data + (outer * held * inner + l % inner) * parts;
      double* const to = y.data + (outer * out_held * inner + l % inner) * out_parts;
      const auto at = [&](integer i) {
        if (i >= held) return complex{};
        const double* const number = from + i * inner * parts;
        return complex(number[0], parts == 2 ? number[1] : 0);
      };
      for (integer i = 0; i < n; ++i) line[i] = at(i);
      // The other half of a one-sided spectrum mirrors the first.
      if (inverse_ && onesided_) {
        for (integer i = n / 2 + 1; i < n; ++i) line[i] = std::conj(at(n - i));
      }
      transform(line, inverse_, memory);
      for (integer i = 0; i < std::min(out_held, n); ++i) {
        const complex v = inverse_ ? line[i] / real(n) : line[i];
        to[i * inner * out_parts] = v.real();
        if (out_parts == 2) to[i * inner * out_parts + 1] = v.imag();
      }
    }
  }

 private:
  bool old_;
  integer axis_;
  bool inverse_, onesided_;
};

// Source: ONNX STFT-17: signal [batch, length, parts], frame_step, window, frame_length.
class stft_op final : public plain_op {
 public:
  explicit stft_op(const compile_context&) {}

  std::size_t workspace(const shape_context& c) const override {
    const auto n = static_cast<std::size_t>(c.inputs[0].shape[1]) + 1;
    return 2 * (2 * n + 2 * std::bit_ceil(2 * n));
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& window = r.in(2);
    const plain_tensor& y = r.out(0);
    const integer length = x.dim(1);
    const integer step = r.in(1).number(0, 1, max_dimension, "frame_step");
    integer frame = window.present() ? window.count : length;
    if (r.in(3).present()) frame = r.in(3).number(0, 1, length, "frame_length");
    if (frame < 1 || frame > length || (window.present() && window.count != frame)) {
      throw error(errc::invalid_argument, "window", "it does not fit frame_length and the signal");
    }
    const fourier transform(frame);
    complex* const line = reinterpret_cast<complex*>(r.workspace);
    const integer parts = x.rank() == 3 ? x.dim(2) : 1;
    const integer frames = y.dim(1);
    const integer bins = y.dim(2);
    patience left(r);
    for (integer f = 0; f < y.dim(0) * frames; ++f) {
      left.spend(32 * frame);
      const double* const from = x.data + (f / frames * length + f % frames * step) * parts;
      for (integer i = 0; i < frame; ++i) {
        const double w = window.present() ? window.data[i] : 1;
        line[i] = w * complex(from[i * parts], parts == 2 ? from[i * parts + 1] : 0);
      }
      transform(line, false, line + frame);
      for (integer i = 0; i < bins; ++i) {
        y.data[(f * bins + i) * 2] = line[i].real();
        y.data[(f * bins + i) * 2 + 1] = line[i].imag();
      }
    }
  }
};

// A sum of cosines.
class window_op final : public plain_op {
 public:
  explicit window_op(const compile_context& c)
      : periodic_(c.n.attributes.get_int("periodic", 1) != 0) {
    if (c.n.op_type == "HannWindow") {
      a_ = 0.5;
      b_ = 0.5;
    } else if (c.n.op_type == "HammingWindow") {
      a_ = 25.0 / 46;
      b_ = 21.0 / 46;
    } else {
      a_ = 0.42;
      b_ = 0.5;
      c_ = 0.08;
    }
  }

  void run(const plain_run& r) const override {
    const integer n = r.out(0).count;
    for (integer i = 0; i < n; ++i) {
      const double angle = 2 * std::numbers::pi * real(i) / real(periodic_ ? n : n - 1);
      r.out(0).data[i] = a_ - b_ * std::cos(angle) + c_ * std::cos(2 * angle);
    }
  }

 private:
  bool periodic_;
  double a_ = 0, b_ = 0, c_ = 0;
};

// Source: ONNX MelWeightMatrix-17: triangles over the bins of a spectrum, evenly spaced in mels.
class mel_op final : public plain_op {
 public:
  explicit mel_op(const compile_context&) {}

  void run(const plain_run& r) const override {
    const plain_tensor& y = r.out(0);
    const integer bins = y.dim(1);
    const double length = r.in(1).data[0];
    const double rate = r.in(2).data[0];
    const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
    const double low = mel(r.in(3).data[0]);
    const double step = (mel(r.in(4).data[0]) - low) / real(bins + 2);
    const auto edge = [&](integer i) {
      const double hertz = 700 * (std::pow(10.0, (low + real(i) * step) / 2595) - 1);
      const double bin = std::floor((length + 1) * hertz / rate);
      if (!(bin >= 0 && bin < real(y.dim(0)))) {
        throw error(errc::invalid_argument, "upper_edge_hertz", "it lies behind the spectrum");
      }
      return static_cast<integer>(bin);
    };
    std::fill_n(y.data, y.count, 0.0);
    for (integer i = 0; i < bins; ++i) {
      const integer left = edge(i);
      const integer centre = edge(i + 1);
      const integer right = edge(i + 2);
      const auto at = [&](integer bin) -> double& { return y.data[bin * bins + i]; };
      if (left == centre) at(centre) = 1;
      for (integer b = left; b <= centre && left != centre; ++b) {
        at(b) = real(b - left) / real(centre - left);
      }
      for (integer b = centre; b < right; ++b) at(b) = real(right - b) / real(right - centre);
    }
  }
};

}  // namespace

void register_plain_signal(op_registry& registry) {
  registry.add_plain("DFT", {compile_plain<dft_op>}, 17);
  registry.add_plain("STFT", {compile_plain<stft_op>}, 17);
  for (const char* op : {"HannWindow", "HammingWindow", "BlackmanWindow"}) {
    registry.add_plain(op, {compile_plain<window_op>}, 17);
  }
  registry.add_plain("MelWeightMatrix", {compile_plain<mel_op>}, 17);
}

}  // namespace mizzen::inference::detail
