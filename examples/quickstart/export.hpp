// From the trained network to an ONNX file.
#pragma once

#include "network.hpp"

#include <filesystem>

namespace digits {

// Writes softmax(relu(pixels W1 + b1) W2 + b2) as ONNX: input "pixels" [batch, 64] of 0..1, output
// "probabilities" [batch, 10].
void save_onnx(const network& trained, const std::filesystem::path& path);

}  // namespace digits
