// The node that stands for a part of a graph on a device: mizzen.DevicePart.
#pragma once

#include "inference/device/device.hpp"

#include <memory>

namespace mizzen::inference::detail {

inline constexpr std::string_view part_operator = "DevicePart";

// Compiles the part anew for each set of shapes: shapes within it become numbers, what follows from
// them alone is computed by the host, and the rest goes to the device. Throws
// error(failed_precondition) where the host has no parts.
std::unique_ptr<kernel> compile_part(const compile_context& context, device& host);

}  // namespace mizzen::inference::detail
