// Front door of mizzen::inference: load an ONNX model, run it in this process.
#pragma once

#include <mizzen/inference/custom_operator.hpp>
#include <mizzen/inference/device.hpp>
#include <mizzen/inference/dlpack.hpp>
#include <mizzen/inference/model_builder.hpp>
#include <mizzen/inference/profile.hpp>
#include <mizzen/inference/session.hpp>
#include <mizzen/inference/tensor.hpp>
#include <mizzen/inference/value.hpp>
#include <mizzen/inference/weight_cache.hpp>
