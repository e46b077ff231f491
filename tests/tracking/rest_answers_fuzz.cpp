// Any bytes, as the body of a tracking server's answer.
#include "tracking/rest_messages.hpp"
#include "tracking/trace_content.hpp"

#include <mizzen/tracking/mlflow_error.hpp>

#include <cstdlib>

namespace t = mizzen::tracking::detail;

// Whatever it is, it is read or refused with data_loss.
template <typename Read>
void read_or_refuse(const mizzen::json& answer, Read read) {
  try {
    read(answer);
  } catch (const mizzen::error& e) {
    if (e.code() != mizzen::errc::data_loss) std::abort();
  }
}

void read_stored(std::string_view text) {
  try {
    const auto span = t::read_stored_span(text);
    // What was read can be written, and read again.
    const auto again = t::read_stored_span(t::stored_span(span, "tr-" + std::string(32, 'a')));
    if (again.attributes != span.attributes || again.id != span.id) std::abort();
  } catch (const mizzen::error& e) {
    if (e.code() != mizzen::errc::data_loss) std::abort();
  }
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  read_stored({reinterpret_cast<const char*>(data), size});
  mizzen::json answer;
  try {
    answer = t::parse_answer({reinterpret_cast<const char*>(data), size});
  } catch (const mizzen::json::exception&) {
    return 0;
  } catch (const mizzen::error&) {
    return 0;
  }
  read_or_refuse(answer, t::read_experiment);
  read_or_refuse(answer, t::read_run);
  read_or_refuse(answer, t::read_metric);
  read_or_refuse(answer, t::read_logged_model);
  read_or_refuse(answer, t::read_registered_model);
  read_or_refuse(answer, t::read_model_version);
  read_or_refuse(answer, t::read_artifact_info);
  read_or_refuse(answer, t::read_trace_info);
  read_or_refuse(answer, t::read_otlp_span);
  if (answer.is_object()) {
    const mizzen::tracking::mlflow_error e("GET /", 400, answer);
    if (std::string_view(e.what()).empty()) std::abort();
  }
  return 0;
}
