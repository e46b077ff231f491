// Nodes with custom operators, compiled.
#pragma once

#include "inference/dynamic/operation.hpp"

#include <memory>

namespace mizzen::inference::detail {

// With shapes that a plan knows, on numbers.
std::unique_ptr<kernel> compile_custom(const compile_context& context);

// With shapes that only computing tells, or on strings.
std::unique_ptr<operation> compile_custom_operation(const operation_compile_context& context);

}  // namespace mizzen::inference::detail
