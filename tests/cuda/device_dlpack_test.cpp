// DLPack tensors in a GPU's memory.
#include "../inference/caught.hpp"
#include "device_test.hpp"
#include "inference/dlpack_abi.hpp"

#include <mizzen/inference/dlpack.hpp>

namespace mizzen::inference {
namespace {

TEST(device_dlpack, goes_there_and_back_without_a_copy) {
  const tensor host = noise({2, 3});
  const tensor there = host.to_device("cuda:0");
  const void* const at = there.address();
  DLManagedTensorVersioned* const out = to_dlpack(there.to_device("cuda:0"));
  EXPECT_EQ(out->dl_tensor.device.device_type, detail::dl_cuda);
  EXPECT_EQ(out->dl_tensor.device.device_id, 0);
  EXPECT_NE(out->dl_tensor.data, at);
  const void* const given = out->dl_tensor.data;
  const tensor back = from_dlpack(out);
  EXPECT_EQ(back.device(), "cuda:0");
  EXPECT_EQ(back.address(), given);
  tensor_map a;
  tensor_map b;
  a.emplace("t", back.to_host());
  b.emplace("t", host.clone());
  expect_near(a, b, 0);
}

TEST(device_dlpack, is_what_a_session_takes_and_fills) {
  model_builder model;
  model.input("x", f32, {2, 3}).node("Relu", {"x"}, {"y"}).output("y", f32, {2, 3});
  const session on = on_device(model);
  const tensor x = noise({2, 3});
  const tensor in = from_dlpack(to_dlpack(x.to_device("cuda:0")));
  tensor out = from_dlpack(
      to_unversioned_dlpack(tensor::on_device("cuda:0", element_type::float32, {2, 3})));
  on.run_into({{"x", in}}, {{"y", out}});
  tensor_map made;
  made.emplace("y", out.to_host());
  expect_near(made, session::load(model.bytes()).run({{"x", x}}), 0);
  DLManagedTensorVersioned* const read_only = to_dlpack(x.to_device("cuda:0"));
  read_only->flags = detail::dl_read_only;
  tensor fixed = from_dlpack(read_only);
  EXPECT_TRUE(fixed.read_only());
  EXPECT_EQ(test::caught([&] { on.run_into({{"x", in}}, {{"y", fixed}}); }).code(),
            errc::invalid_argument);
  DLManagedTensorVersioned* const absent = to_dlpack(x.to_device("cuda:0"));
  absent->dl_tensor.device.device_id = 77;
  EXPECT_EQ(test::caught([&] { from_dlpack(absent); }).code(), errc::not_found);
  absent->dl_tensor.device.device_id = 0;
  release_dlpack(absent);
}

}  // namespace
}  // namespace mizzen::inference
