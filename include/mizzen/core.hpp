// Front door of mizzen::core: what every other module stands on.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/checked.hpp>
#include <mizzen/core/cpu.hpp>
#include <mizzen/core/deadline.hpp>
#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/core/time.hpp>
