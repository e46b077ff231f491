// The rules of shape inference, by operator.
#pragma once

#include "inference/graph/shape_inference.hpp"

#include <initializer_list>
#include <map>
#include <string_view>

namespace mizzen::inference::detail {

using shape_rule_table = std::map<std::string_view, shape_rule>;

void add_elementwise_rules(shape_rule_table& table);
void add_neural_rules(shape_rule_table& table);
void add_data_rules(shape_rule_table& table);
void add_microsoft_rules(shape_rule_table& table);  // the domain com.microsoft
void add_mizzen_rules(shape_rule_table& table);     // the domain mizzen
void add_scatter_rules(shape_rule_table& table);
void add_sampling_rules(shape_rule_table& table);
void add_sequence_rules(shape_rule_table& table);
void add_signal_rules(shape_rule_table& table);
void add_dynamic_rules(shape_rule_table& table);
void add_window_rules(shape_rule_table& table);

// Shape of a product of matrices as MatMul has it: inputs a and b by their number; nullopt while a
// rank is unknown.
std::optional<dims> matmul_shape(infer_context& c, std::size_t a, std::size_t b);

// The rule of mizzen.PointwiseDepthwiseConv; see passes/fuse_strips.cpp.
void conv_strip(infer_context& c);

// The rule of GlobalAveragePool and its like: one number for each channel of input 0.
void global_pool(infer_context& c);

// The rules of QLinearConv and QLinearMatMul; what passes make of them has a bias as input 8.
void qlinear_conv(infer_context& c);
void qlinear_matmul(infer_context& c);

// Fails for each of these inputs that is known to have other than one element.
void one_number(infer_context& c, std::initializer_list<std::size_t> inputs);

}  // namespace mizzen::inference::detail
