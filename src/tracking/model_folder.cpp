#include "tracking/model_folder.hpp"

#include "tracking/artifacts.hpp"
#include "tracking/schema.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

namespace mizzen::tracking::detail {
namespace {

// What mlflow.types.TensorSpec takes back (NumPy names; text is kept as "str").
constexpr std::array<std::string_view, 14> dtypes = {
    "float16", "float32", "float64", "int8",   "int16", "int32",     "int64",
    "uint8",   "uint16",  "uint32",  "uint64", "bool",  "complex64", "str"};

std::string signature_json(const std::vector<tensor_spec>& tensors) {
  json list = json::array();
  for (const tensor_spec& tensor : tensors) {
    json spec = {{"type", "tensor"},
                 {"tensor-spec", {{"dtype", tensor.dtype}, {"shape", tensor.shape}}}};
    if (!tensor.name.empty()) spec["name"] = tensor.name;
    list.push_back(std::move(spec));
  }
  return list.dump();
}

void check_tensors(std::string_view field, const std::vector<tensor_spec>& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string at = std::string(field) + "[" + std::to_string(i) + "]";
    const tensor_spec& tensor = tensors[i];
    check_text(at + ".name", tensor.name);
    if (tensor.name.empty() && tensors.size() > 1) {
      throw error(errc::invalid_argument, at + ".name",
                  "it is empty; several tensors are told apart by their names");
    }
    if (std::find(dtypes.begin(), dtypes.end(), tensor.dtype) == dtypes.end()) {
      throw error(errc::invalid_argument, at + ".dtype",
                  "'" + tensor.dtype + "' is not a NumPy type name, as float32 or int64");
    }
    for (const std::int64_t dimension : tensor.shape) {
      if (dimension >= -1) continue;
      throw error(errc::invalid_argument, at + ".shape",
                  std::to_string(dimension) + " is no dimension; use -1 where any size goes");
    }
  }
}

// "2026-11-22 09:05:56.499273", as Python's str(datetime) has it.
std::string python_utc_time(std::chrono::system_clock::time_point at) {
  using namespace std::chrono;
  const auto micros = floor<microseconds>(at.time_since_epoch()).count() % 1'000'000;
  std::string text = format_rfc3339(at).substr(0, 19);
  text[10] = ' ';
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%06d", static_cast<int>(micros));
  return text + fraction;
}

}  // namespace

std::string yaml_quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    unsigned code = length == 1 ? lead : lead & (0xffU >> (length + 1));
    for (std::size_t k = 1; k < length && i + k < text.size(); ++k) {
      code = (code << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3fU);
    }
    // Not printable in YAML, or a line break inside a scalar.
    const bool escape = code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 ||
                        code == 0x2029 || code == 0xfeff || code == 0xfffe || code == 0xffff;
    if (code == '"' || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (escape) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", code);
      out += escaped;
    } else {
      out += text.substr(i, length);
    }
    i += length;
  }
  return out + "\"";
}

void check_model_options(const model_options& options) {
  check_logged_model_name(options.name);
  check_tensors("model.signature.inputs", options.signature.inputs);
  check_tensors("model.signature.outputs", options.signature.outputs);
  for (const auto& [key, value] : options.params) check_model_param(key, value);
  for (const auto& [key, value] : options.tags) {
    check_key("model.tags.key", key);
    check_text("model.tags.value", value, limits::tag_length);
  }
  for (const auto& [key, value] : options.metadata) {
    check_text("model.metadata.key", key);
    check_text("model.metadata.value", value);
  }
}

std::string ml_model_text(const logged_model& model, const model_options& options,
                          std::uint64_t onnx_size, std::string_view mlflow_version) {
  std::string text = "artifact_path: " + yaml_quoted(model.artifact_location) +
                     "\n"
                     "flavors:\n"
                     "  onnx:\n"
                     "    code: null\n"
                     "    data: model.onnx\n"
                     "    onnx_session_options: null\n"
                     "    providers:\n"
                     "    - CUDAExecutionProvider\n"
                     "    - CPUExecutionProvider\n"
                     "  python_function:\n"
                     "    data: model.onnx\n"
                     "    env:\n"
                     "      conda: conda.yaml\n"
                     "      virtualenv: python_env.yaml\n"
                     "    loader_module: mlflow.onnx\n"
                     "is_signature_from_type_hint: false\n";
  if (!options.metadata.empty()) {
    text += "metadata:\n";
    for (const auto& [key, value] : options.metadata) {
      text += "  " + yaml_quoted(key) + ": " + yaml_quoted(value) + "\n";
    }
  }
  text += "mlflow_version: " + yaml_quoted(mlflow_version) + "\n";
  text += "model_id: " + model.id + "\n";
  text += "model_size_bytes: " + std::to_string(onnx_size) + "\n";
  text += "model_uuid: " + model.id + "\n";
  text += "prompts: null\n";
  text += "run_id: " + yaml_quoted(model.run_id) + "\n";
  if (!options.signature.inputs.empty() || !options.signature.outputs.empty()) {
    const auto part = [](const std::vector<tensor_spec>& tensors) {
      return tensors.empty() ? std::string("null") : yaml_quoted(signature_json(tensors));
    };
    text += "signature:\n  inputs: " + part(options.signature.inputs) +
            "\n  outputs: " + part(options.signature.outputs) + "\n  params: null\n";
  }
  text += "type_hint_from_example: false\n";
  text += "utc_time_created: " + yaml_quoted(python_utc_time(std::chrono::system_clock::now()));
  return text + "\n";
}

void write_model_folder(const std::filesystem::path& folder, const logged_model& model,
                        const model_options& options, std::uint64_t onnx_size) {
  const std::string version = read_schema_header(mlflow_schema_sql).mlflow_version;
  const std::string requirements = "mlflow==" + version + "\nonnx\nonnxruntime\n";
  write_file(folder / "requirements.txt", requirements);
  // A model from C++ has no Python of its own: any that MLflow supports will do.
  write_file(folder / "python_env.yaml",
             std::string_view("python: \"3.11\"\nbuild_dependencies:\n- pip\ndependencies:\n"
                              "- -r requirements.txt\n"));
  write_file(folder / "conda.yaml",
             "channels:\n- conda-forge\ndependencies:\n- python=3.11\n- pip\n"
             "- pip:\n  - mlflow==" +
                 version + "\n  - onnx\n  - onnxruntime\nname: mlflow-env\n");
  write_file(folder / "MLmodel", ml_model_text(model, options, onnx_size, version));
}

}  // namespace mizzen::tracking::detail
