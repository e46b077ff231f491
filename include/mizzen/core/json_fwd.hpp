// Declares mizzen::json without pulling in the JSON library.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace mizzen {

using json = nlohmann::json;

}  // namespace mizzen
