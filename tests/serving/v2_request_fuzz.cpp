// Any body, and any claim of how much of it is JSON: the request is refused with an error that
// names a field, or it is one that can be written and read again. The first two bytes are the
// claim.
#include <mizzen/core/error.hpp>
#include <mizzen/serving/v2.hpp>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace v2 = mizzen::serving::v2;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t claim = std::size_t{data[0]} | std::size_t{data[1]} << 8;
  const std::string_view body(reinterpret_cast<const char*>(data) + 2, size - 2);
  std::optional<std::size_t> json_size;
  if (claim != 0xffff) json_size = claim;
  try {
    const v2::infer_request request = v2::parse_infer_request(body, json_size);
    v2::infer_response response{.id = request.id, .model_name = "m", .outputs = {}};
    for (const v2::named_tensor& each : request.inputs) {
      response.outputs.push_back({each.name, each.value.clone()});
    }
    v2::infer_request all_binary;
    all_binary.binary_output = true;
    const v2::encoded written = v2::encode_infer_response(response, all_binary);
    const v2::infer_response again = v2::parse_infer_response(written.body, written.json_size);
    if (again.outputs.size() != request.inputs.size()) std::abort();
  } catch (const mizzen::error& e) {
    if (e.code() != mizzen::errc::invalid_argument || e.subject().empty()) std::abort();
  }
  return 0;
}
