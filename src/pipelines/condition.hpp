// Deciding conditions.
#pragma once

#include <mizzen/pipelines/graph.hpp>

#include <functional>

namespace mizzen::pipelines::detail {

// Compares two values as struct condition describes.
bool holds(comparison op, const json& left, const json& right);

// Decides a condition, asking for the value of each source it needs.
bool holds(const condition& condition, const std::function<json(const source&)>& value);

// Visits every source of the tree.
void for_each_source(const condition& condition, const std::function<void(const source&)>& visit);

}  // namespace mizzen::pipelines::detail
