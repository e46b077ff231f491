// Elements of tensors from and to JSON and the binary tensor extension.
#pragma once

#include "serving/json_reader.hpp"

#include <mizzen/inference/tensor.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace mizzen::serving::detail {

// Conversions of the half-width floats; to them with rounding to nearest, ties to even.
float half_to_float(std::uint16_t bits) noexcept;
std::uint16_t float_to_half(float value) noexcept;
float bfloat16_to_float(std::uint16_t bits) noexcept;
std::uint16_t float_to_bfloat16(float value) noexcept;

// Reads a "data" array, flat or nested as the shape is, that the reader stands before.
tensor read_json_data(json_reader& reader, inference::element_type type,
                      inference::shape_type shape, const std::string& subject);

// Reads the bytes of a tensor in the binary extension: exactly those that the shape asks for.
tensor read_binary_data(std::string_view bytes, inference::element_type type,
                        inference::shape_type shape, const std::string& subject);

// Appends a flat array. Throws error(invalid_argument) for what JSON cannot say.
void append_json_data(std::string& to, const tensor& value, const std::string& subject);

// Size and content of a tensor in the binary extension.
std::size_t binary_size(const tensor& value);
void append_binary_data(std::string& to, const tensor& value);

}  // namespace mizzen::serving::detail
