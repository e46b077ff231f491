// The Open Inference Protocol (V2 REST) as functions from bytes to values and back: no socket, no
// clock. Source: kserve/open-inference-protocol specification/protocol/inference_rest.md, and its
// binary tensor data extension.
#pragma once

#include <mizzen/core/json.hpp>
#include <mizzen/inference/tensor.hpp>
#include <mizzen/serving/model.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::serving::v2 {

// Name of the HTTP header that says how many bytes of a body are JSON; tensors in binary follow.
inline constexpr std::string_view json_size_header = "Inference-Header-Content-Length";

// The protocol's name of an element type: "BOOL", "UINT8" … "FP32", "BYTES" (string); BF16 as in
// Triton. Empty for types that it does not have.
std::string_view datatype_name(inference::element_type type) noexcept;

// The reverse; empty for an unknown name. Case matters.
std::optional<inference::element_type> parse_datatype(std::string_view name) noexcept;

// What a request may ask of the parser. The memory that it takes is bounded by these and by the
// size of the body (about 12 bytes for each), never by what a shape claims.
struct limits {
  std::size_t max_tensors = 256;      // inputs, and outputs
  std::size_t max_dimensions = 16;    // of a shape
  std::size_t max_name = 1024;        // bytes of a name or an id
  std::size_t max_depth = 64;         // nesting of the JSON text
  std::size_t max_parameters = 4096;  // bytes of a "parameters" object
};

struct named_tensor {
  std::string name = {};
  tensor value = {};
};

struct requested_output {
  std::string name = {};
  // "parameters"."binary_data"; empty: as the request's binary_data_output says.
  std::optional<bool> binary = {};
};

struct infer_request {
  std::string id = {};
  json parameters = {};  // object or null
  std::vector<named_tensor> inputs = {};
  std::vector<requested_output> outputs = {};  // empty: all
  // "parameters"."binary_data_output": outputs are binary unless they say otherwise.
  bool binary_output = false;
};

struct infer_response {
  std::string id = {};
  std::string model_name = {};
  std::string model_version = {};
  std::vector<named_tensor> outputs = {};
};

// A body, and how much of it is JSON if binary tensors follow (the value of json_size_header).
struct encoded {
  std::string body = {};
  std::optional<std::size_t> json_size = {};

  // application/json, or application/octet-stream with binary tensors.
  std::string_view content_type() const noexcept {
    return json_size ? "application/octet-stream" : "application/json";
  }
};

// Reads the body of POST …/infer. json_size: the value of json_size_header, if the header is there.
// Data may be flat or nested as the shape is. Throws error(invalid_argument) whose subject is the
// field ("inputs[0].shape") and whose message says what was expected.
infer_request parse_infer_request(std::string_view body, std::optional<std::size_t> json_size,
                                  const limits& within = {});

// Checks a request against what the model takes: unknown, missing or doubled inputs, types, shapes,
// unknown outputs. Throws as parse_infer_request does.
void check_against(const infer_request& request, const model_metadata& metadata);

// Writes a response: JSON, or binary for the outputs that the request wants so. Not-a-number and
// infinities are not JSON: such an output must be asked for in binary, else this throws
// error(invalid_argument) that says so.
encoded encode_infer_response(const infer_response& response, const infer_request& request);

// The same from the client's side: everything binary, or everything JSON.
encoded encode_infer_request(std::span<const inference::named_input> inputs,
                             std::span<const std::string> outputs, bool binary);
infer_response parse_infer_response(std::string_view body, std::optional<std::size_t> json_size,
                                    const limits& within = {});

// $metadata_model_response; -1 for a dimension of any size, and [-1] for a shape of any rank.
json to_json(std::string_view name, const std::vector<std::string>& versions,
             const model_metadata& metadata);
model_metadata parse_metadata(const json& answer);

}  // namespace mizzen::serving::v2
