// Memory of constants.
#pragma once

#include <mizzen/inference/tensor.hpp>

namespace mizzen::inference::detail {

// Zeroed, as tensor(type, shape), for a constant. Most are packed for a kernel soon and die then: a
// large one has pages of its own, so that they go back to the system and not to the heap, which
// would keep them.
tensor make_constant(element_type type, shape_type shape);

}  // namespace mizzen::inference::detail
