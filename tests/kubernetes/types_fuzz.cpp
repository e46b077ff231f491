// The JSON and protobuf decoders: what is read must come back, whatever the bytes were.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/types/batch_v1.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

using namespace mizzen;
using namespace mizzen::kubernetes;

namespace {

// Nothing, or the object. Only mizzen::error may be thrown.
template <typename K, typename Read>
std::optional<K> attempt(Read read) {
  try {
    return read();
  } catch (const error&) {
    return std::nullopt;
  }
}

template <typename K>
void through_json(std::string_view text) {
  const auto object = attempt<K>([text] { return from_json<K>(text); });
  if (object && !(from_json<K>(to_json(*object)) == *object)) std::abort();
}

template <typename K>
void through_protobuf(std::string_view message) {
  const auto object = attempt<K>([message] { return from_protobuf<K>(message); });
  if (object && !(from_protobuf<K>(to_protobuf(*object)) == *object)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(static_cast<const char*>(static_cast<const void*>(data)) + 1,
                               size - 1);
  switch (data[0] % 4) {
    case 0:
      through_json<core_v1::pod>(bytes);
      break;
    case 1:
      through_json<batch_v1::cron_job>(bytes);
      break;
    case 2:
      through_protobuf<core_v1::pod>(bytes);
      break;
    default:
      through_protobuf<batch_v1::cron_job>(bytes);
  }
  return 0;
}
