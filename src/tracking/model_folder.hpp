// The folder of an MLflow model: the file MLmodel and what it names.
#pragma once

#include <mizzen/tracking/run.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// The text of the file MLmodel (YAML) for an ONNX model kept as model.onnx.
std::string ml_model_text(const logged_model& model, const model_options& options,
                          std::uint64_t onnx_size, std::string_view mlflow_version);

// Throws error(invalid_argument) for options that MLflow could not read back.
void check_model_options(const model_options& options);

// Writes the files beside model.onnx; MLmodel last, which makes the folder a model.
void write_model_folder(const std::filesystem::path& folder, const logged_model& model,
                        const model_options& options, std::uint64_t onnx_size);

// A YAML double-quoted scalar; text must be UTF-8.
std::string yaml_quoted(std::string_view text);

}  // namespace mizzen::tracking::detail
