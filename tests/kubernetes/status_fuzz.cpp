// Any bytes, as the body of a refusal.
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto status = mizzen::kubernetes::parse_status(text);
  const auto e = mizzen::kubernetes::status_error::from_answer("GET /", 500, text);
  if (status.has_value() != e.from_server()) std::abort();
  if (status && !text.starts_with("k8s")) {
    const auto again =
        mizzen::kubernetes::status_from_json(mizzen::kubernetes::to_json_value(*status));
    if (!again || again->message != status->message) std::abort();
  }
  return 0;
}
