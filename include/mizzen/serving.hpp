// Front door of mizzen::serving: models over the Open Inference Protocol (V2 REST).
#pragma once

#include <mizzen/serving/client.hpp>
#include <mizzen/serving/model.hpp>
#include <mizzen/serving/server.hpp>
#include <mizzen/serving/v2.hpp>
