// The gates of recurrent networks on vectors. Included after a simd_*.hpp.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/vector_math.inc.hpp"

namespace {

using mizzen::inference::detail::cpu::gru_step;
using mizzen::inference::detail::cpu::lstm_step;

void lstm(const lstm_step& s) {
  const vec one = splat(1.0F);
  const vec high = splat(s.clip > 0 ? s.clip : infinity);
  const vec low = sub(zero(), high);
  for (std::size_t i = 0; i < s.n; i += lanes) {
    const bool partial = s.n - i < lanes;
    const mask m = first_lanes(s.n - i);
    const auto read = [&](const float* p) { return partial ? load(p + i, m) : load(p + i); };
    const auto write = [&](float* p, vec x) {
      if (partial) {
        store(p + i, x, m);
      } else {
        store(p + i, x);
      }
    };
    vec cell = read(s.cell);
    vec in = read(s.gates);
    vec out = read(s.gates + s.n);
    vec forget = read(s.gates + 2 * s.n);
    const vec fresh = tanh(clamp(read(s.gates + 3 * s.n), low, high));
    if (s.peepholes != nullptr) {
      in = fma(read(s.peepholes), cell, in);
      forget = fma(read(s.peepholes + 2 * s.n), cell, forget);
    }
    in = sigmoid(clamp(in, low, high));
    forget = s.coupled ? sub(one, in) : sigmoid(clamp(forget, low, high));
    cell = fma(forget, cell, mul(in, fresh));
    if (s.peepholes != nullptr) out = fma(read(s.peepholes + s.n), cell, out);
    out = sigmoid(clamp(out, low, high));
    write(s.cell, cell);
    write(s.h, mul(out, tanh(clamp(cell, low, high))));
  }
}

void gru(const gru_step& s) {
  const vec one = splat(1.0F);
  const vec high = splat(s.clip > 0 ? s.clip : infinity);
  const vec low = sub(zero(), high);
  for (std::size_t i = 0; i < s.n; i += lanes) {
    const bool partial = s.n - i < lanes;
    const mask m = first_lanes(s.n - i);
    const auto read = [&](const float* p) { return partial ? load(p + i, m) : load(p + i); };
    const vec update = sigmoid(clamp(read(s.gates), low, high));
    vec fresh = read(s.gates + 2 * s.n);
    if (s.before_reset != nullptr) {
      const vec reset = sigmoid(clamp(read(s.gates + s.n), low, high));
      fresh = fma(reset, read(s.before_reset), fresh);
    }
    fresh = tanh(clamp(fresh, low, high));
    const vec h = fma(update, read(s.h), mul(sub(one, update), fresh));
    if (partial) {
      store(s.h + i, h, m);
    } else {
      store(s.h + i, h);
    }
  }
}

}  // namespace
