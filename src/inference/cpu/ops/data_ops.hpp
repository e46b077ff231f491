// A register function per file of data operators.
#pragma once

#include "inference/cpu/op_registry.hpp"

namespace mizzen::inference::detail {

void register_reshape(
    op_registry& registry);  // Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout
void register_shape(op_registry& registry);      // Shape, Size, ConstantOfShape, Range
void register_transpose(op_registry& registry);  // Transpose, DepthToSpace, SpaceToDepth
void register_concat(op_registry& registry);     // Concat, Split
void register_slice(op_registry& registry);      // Slice, Pad
void register_gather(op_registry& registry);     // Gather, GatherElements, GatherND, OneHot
void register_expand(op_registry& registry);     // Expand, Tile
void register_cast(op_registry& registry);       // Cast
void register_logic(op_registry& registry);      // comparisons, And, Or, Xor, Not, Where
void register_select(op_registry& registry);     // ArgMax, ArgMin, TopK
void register_scan(op_registry& registry);       // CumSum, Trilu
void register_resize(op_registry& registry);     // Resize

}  // namespace mizzen::inference::detail
