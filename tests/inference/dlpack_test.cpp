// Tensors of other libraries: DLPack, on the host. On a GPU: tests/cuda/device_dlpack_test.cpp.
#include "caught.hpp"
#include "inference/dlpack_abi.hpp"

#include <mizzen/inference/dlpack.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace mizzen::inference {
namespace {

using test::caught;

// A tensor as another library hands it out.
template <class Managed>
struct foreign {
  explicit foreign(std::vector<std::int64_t> s) : shape(std::move(s)) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    managed.manager_ctx = this;
    managed.deleter = [](Managed* self) { ++static_cast<foreign*>(self->manager_ctx)->deleted; };
    managed.dl_tensor = {values.data(),
                         {detail::dl_cpu, 0},
                         static_cast<std::int32_t>(shape.size()),
                         {detail::dl_float, 32, 1},
                         shape.data(),
                         nullptr,
                         0};
    if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) managed.version = {1, 1};
  }
  foreign(const foreign&) = delete;
  foreign& operator=(const foreign&) = delete;

  alignas(64) std::array<float, 24> values{};
  std::vector<std::int64_t> shape, strides;
  Managed managed{};
  int deleted = 0;
};
using plain = foreign<DLManagedTensor>;
using versioned = foreign<DLManagedTensorVersioned>;

TEST(dlpack, views_and_gives_back) {
  versioned v({2, 3});
  v.strides = {3, 1};
  v.managed.dl_tensor.strides = v.strides.data();
  {
    tensor t = from_dlpack(&v.managed);
    EXPECT_EQ(t.type(), element_type::float32);
    EXPECT_EQ(t.shape(), (shape_type{2, 3}));
    EXPECT_EQ(t.address(), v.values.data());
    t.data<float>()[1] = 7;
    EXPECT_EQ(v.values[1], 7.0F);
    const tensor moved = std::move(t);
    EXPECT_EQ(v.deleted, 0);
  }
  EXPECT_EQ(v.deleted, 1);
  plain p({4});
  p.managed.dl_tensor.byte_offset = 8;
  p.managed.dl_tensor.device.device_type = detail::dl_cuda_host;  // pinned: the host's too
  EXPECT_EQ(from_dlpack(&p.managed).data<float>()[0], 2.0F);
  EXPECT_EQ(p.deleted, 1);
  plain scalar({});
  EXPECT_EQ(from_dlpack(&scalar.managed).rank(), 0U);
}

TEST(dlpack, keeps_what_is_read_only) {
  versioned v({2});
  v.managed.flags = detail::dl_read_only;
  tensor t = from_dlpack(&v.managed);
  EXPECT_TRUE(t.read_only());
  EXPECT_EQ(caught([&] { t.mutable_bytes(); }).code(), errc::failed_precondition);
  DLManagedTensorVersioned* out = to_dlpack(std::move(t));
  EXPECT_EQ(out->flags & detail::dl_read_only, detail::dl_read_only);
  release_dlpack(out);
  EXPECT_EQ(v.deleted, 1);
}

TEST(dlpack, refuses_what_it_cannot_view_and_leaves_it) {
  const auto refused = [](auto change, const char* why, errc code = errc::invalid_argument) {
    versioned v({2, 3});
    change(v);
    const error e = caught([&] { from_dlpack(&v.managed); });
    EXPECT_EQ(e.code(), code);
    EXPECT_NE(std::string(e.what()).find(why), std::string::npos) << e.what();
    EXPECT_EQ(v.deleted, 0) << why;
  };
  const auto with_strides = [](std::vector<std::int64_t> s) {
    return [s](versioned& v) {
      v.strides = s;
      v.managed.dl_tensor.strides = v.strides.data();
    };
  };
  refused(with_strides({1, 2}), "[1, 2] for shape [2, 3] are not dense");
  refused(with_strides({4, 1}), "make it contiguous");
  refused(with_strides({0, 0}), "not dense");
  refused([](versioned& v) { v.managed.dl_tensor.dtype.lanes = 4; }, "4 lanes");
  refused([](versioned& v) { v.managed.dl_tensor.dtype = {3, 64, 1}; }, "type code 3");
  refused([](versioned& v) { v.managed.dl_tensor.dtype = {detail::dl_float, 24, 1}; }, "24 bits");
  refused([](versioned& v) { v.managed.dl_tensor.device.device_type = 8; }, "device of type 8");
  refused([](versioned& v) { v.managed.dl_tensor.byte_offset = 2; }, "not aligned");
  refused([](versioned& v) { v.managed.dl_tensor.ndim = -1; }, "no shape");
  refused([](versioned& v) { v.shape[0] = -2; }, "dimension");
  refused([](versioned& v) { v.managed.version = {2, 0}; }, "version 2.0", errc::unimplemented);
}

TEST(dlpack, strides_say_nothing_where_there_is_one_element_or_none) {
  versioned one({1, 3, 1});
  one.strides = {99, 1, 7};
  one.managed.dl_tensor.strides = one.strides.data();
  EXPECT_EQ(from_dlpack(&one.managed).size(), 3U);
  versioned none({0, 3});
  none.strides = {5, 9};
  none.managed.dl_tensor.strides = none.strides.data();
  EXPECT_TRUE(from_dlpack(&none.managed).empty());
}

TEST(dlpack, every_type_goes_there_and_back) {
  for (std::int32_t i = 1; i <= 26; ++i) {
    const auto type = static_cast<element_type>(i);
    tensor t(type, {3});
    const void* const at = t.address();
    if (type == element_type::string || bit_width(type) < 8) {
      EXPECT_EQ(caught([&] { to_dlpack(t.clone()); }).code(), errc::invalid_argument);
      continue;
    }
    DLManagedTensorVersioned* const out = to_dlpack(std::move(t));
    EXPECT_EQ(out->dl_tensor.dtype.bits, bit_width(type));
    EXPECT_EQ(out->version.major, 1U);
    EXPECT_EQ(out->dl_tensor.strides[0], 1);
    const tensor back = from_dlpack(out);
    EXPECT_EQ(back.type(), type);
    EXPECT_EQ(back.address(), at);
  }
}

TEST(dlpack, without_a_version) {
  tensor t = tensor::copy({1.0F, 2.0F, 3.0F, 4.0F}, {2, 2});
  DLManagedTensor* const out = to_unversioned_dlpack(std::move(t));
  EXPECT_EQ(out->dl_tensor.ndim, 2);
  EXPECT_EQ(out->dl_tensor.strides[0], 2);
  EXPECT_EQ(from_dlpack(out).data<float>()[3], 4.0F);
  const std::vector<float> values(2);
  EXPECT_EQ(caught([&] {
              to_unversioned_dlpack(tensor::view(std::span<const float>(values), {2}));
            }).code(),
            errc::invalid_argument);
  release_dlpack(static_cast<DLManagedTensor*>(nullptr));
}

}  // namespace
}  // namespace mizzen::inference
