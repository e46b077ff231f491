// Convolutions of bytes over pictures whose channels lie last, with constant small integers; and
// products of matrices, which are pointwise ones.
#pragma once

#include "inference/cpu/kernels/conv_channels_last.hpp"
#include "inference/cpu/kernels/int8_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mizzen::inference::detail::cpu {

// From sums to bytes, per output channel: y = table[clamp(round((sum + bias) factor) + zero)],
// rounded half to even. Sums are of (x - x_zero) w in 32 bits, which wrap around. A factor is the
// product of the scales of x and w over that of y, rounded to float: against exact arithmetic y is
// off by one at most, and where the exact value lies within some 1e-6 of a tie.
struct int8_requantise {
  std::vector<float> factors;      // one, or one for each output channel
  std::vector<std::int32_t> bias;  // for each output channel; or empty
  std::int32_t x_zero = 0;         // [0, 255]
  std::int32_t zero = 0;           // likewise
  std::int32_t low = 0;            // bounds of y before the table
  std::int32_t high = 255;
  std::vector<std::uint8_t> table;  // of 256; or empty
};

// Whether int8_convolution takes it. Looks at channels, groups and the dilation of the width.
bool takes_int8(const channels_last_shape& shape) noexcept;

class int8_convolution {
 public:
  // Weights [out_channels, in_channels / groups, taps] of int8; of the shape, what is known of the
  // window without its sizes is used.
  int8_convolution(const int8_table& table, const channels_last_shape& shape,
                   const std::int8_t* weights, int8_requantise output);

  // Bytes of scratch memory that run() needs. Throws error(resource_exhausted) on overflow.
  std::size_t scratch_bytes(const channels_last_shape& shape, unsigned threads) const;

  // x and y must not overlap. Allocates nothing.
  void run(thread_pool& pool, const channels_last_shape& shape, const std::uint8_t* x,
           std::uint8_t* y, std::byte* scratch) const;

 private:
  enum class method { direct, lines, depthwise, depthwise_lines };
  struct call;

  method method_for(const channels_last_shape& shape) const noexcept;
  std::size_t taps(const channels_last_shape& shape) const noexcept;
  // Pixels of a task, so few that the addresses of their taps do not take much memory.
  std::size_t block_rows(std::size_t taps) const noexcept {
    constexpr std::size_t many = 4096;
    return std::clamp<std::size_t>(many / std::max<std::size_t>(taps, 1), 1, 8) * table_.tile_rows;
  }
  void pack_panels(const channels_last_shape& shape, const std::int8_t* weights);
  void pack_depthwise(const channels_last_shape& shape, const std::int8_t* weights);
  void direct(const call& c) const;
  void depthwise(const call& c) const;
  void depthwise_lines(const call& c) const;
  int8_output output_from(std::size_t place) const noexcept;

  const int8_table& table_;
  int8_requantise output_;
  method method_;
  std::size_t depth_ = 0;   // bytes at each tap
  std::size_t padded_ = 0;  // direct: columns of a group in whole panels
  std::vector<std::int8_t> data_;
  std::vector<float> factors_;        // in the order of data_
  std::vector<std::int32_t> shifts_;  // likewise
  std::vector<std::uint8_t> pad_;     // what stands at a tap outside the picture
};

}  // namespace mizzen::inference::detail::cpu
