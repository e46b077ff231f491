#include "inference/cpu/ops/strided_copy.hpp"

#include "inference/cpu/thread_pool.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Planes become channels that lie last, and back, for every number of channels that has code of its
// own and some that have not.
template <class T>
void check_planes() {
  thread_pool pool(2);
  for (const std::int64_t channels : {1, 2, 3, 4, 5, 17}) {
    for (const std::int64_t pixels : {1, 2, 15, 16, 17, 5000}) {
      const std::vector<std::int64_t> shape{2, pixels, channels};
      std::vector<T> planes(static_cast<std::size_t>(2 * pixels * channels));
      std::iota(planes.begin(), planes.end(), T{1});
      std::vector<T> turned(planes.size() + 1, T{77});
      const rank_array by_plane{pixels * channels, 1, pixels};
      const rank_array by_pixel = dense_strides(shape);
      copy_strided(turned.data(), by_pixel, planes.data(), by_plane, shape, sizeof(T), pool);
      EXPECT_EQ(turned.back(), T{77});
      for (std::int64_t i = 0; i < 2 * pixels * channels; ++i) {
        const std::int64_t image = i / (pixels * channels);
        const std::int64_t from =
            image * pixels * channels + i % channels * pixels + i / channels % pixels;
        ASSERT_EQ(turned[static_cast<std::size_t>(i)], planes[static_cast<std::size_t>(from)])
            << channels << " channels, " << pixels << " pixels, at " << i;
      }
      std::vector<T> back(planes.size());
      copy_strided(back.data(), by_plane, turned.data(), by_pixel, shape, sizeof(T), pool);
      EXPECT_EQ(back, planes);
    }
  }
}

TEST(strided_copy, planes_become_channels_that_lie_last) {
  check_planes<std::uint8_t>();
  check_planes<std::uint16_t>();
  check_planes<std::uint32_t>();
  check_planes<std::uint64_t>();
}

}  // namespace
}  // namespace mizzen::inference::detail
