// The JSON type of all of Mizzen: nlohmann::json. Headers that only name it include json_fwd.hpp.
#pragma once

#include <mizzen/core/json_fwd.hpp>

#include <nlohmann/json.hpp>
