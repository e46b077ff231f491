// The node that stands for a part of a graph on a device: mizzen.DevicePart.
#pragma once

#include "inference/device/device.hpp"
#include "inference/device/part_on_host.hpp"
#include "inference/graph/shape_inference.hpp"

#include <memory>
#include <span>
#include <string_view>

namespace mizzen::inference::detail {

inline constexpr std::string_view part_operator = "DevicePart";

// Compiles the part anew for each set of shapes: shapes within it become numbers, what follows from
// them alone is computed by the host, and the rest goes to the device. Where that refuses it
// (unimplemented, resource_exhausted), the part runs on the processor, compiled by on_host, with a
// warning in its log. Throws error(failed_precondition) where the host has no parts.
std::unique_ptr<kernel> compile_part(const compile_context& context, device& host,
                                     const compile_settings& on_host);

// Where the kernel is a part's: sets the outputs' shapes by computing what they follow from, which
// may be more than shape inference does. The shapes of all inputs are numbers. False if some shape
// in the part is not known even so.
bool infer_part(const kernel* k, std::span<const inferred> in, std::span<inferred> out);

// The same part for the processor; null where the kernel is none of a part.
const part_on_host* on_host(const kernel* k);

}  // namespace mizzen::inference::detail
