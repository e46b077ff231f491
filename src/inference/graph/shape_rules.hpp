// The rules of shape inference, by operator.
#pragma once

#include "inference/graph/shape_inference.hpp"

#include <map>
#include <string_view>

namespace mizzen::inference::detail {

using shape_rule_table = std::map<std::string_view, shape_rule>;

void add_elementwise_rules(shape_rule_table& table);
void add_neural_rules(shape_rule_table& table);
void add_data_rules(shape_rule_table& table);
void add_scatter_rules(shape_rule_table& table);
void add_sampling_rules(shape_rule_table& table);
void add_sequence_rules(shape_rule_table& table);
void add_signal_rules(shape_rule_table& table);
void add_dynamic_rules(shape_rule_table& table);

}  // namespace mizzen::inference::detail
