// How MLflow writes the ids of traces and spans, and the attributes of spans that are its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace mizzen::tracking::detail {

inline constexpr std::string_view trace_id_prefix = "tr-";
inline constexpr std::size_t trace_digits = 32;  // behind the prefix, hexadecimal
inline constexpr std::size_t span_digits = 16;

inline constexpr const char* request_id_key = "mlflow.traceRequestId";
inline constexpr const char* type_key = "mlflow.spanType";
inline constexpr const char* inputs_key = "mlflow.spanInputs";
inline constexpr const char* outputs_key = "mlflow.spanOutputs";

inline constexpr std::size_t preview_length = 1000;  // characters

inline bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace mizzen::tracking::detail
