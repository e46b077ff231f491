// The operations, a table per file of this folder.
#pragma once

#include "inference/dynamic/operation.hpp"

#include <map>
#include <string_view>

namespace mizzen::inference::detail {

using operation_table = std::map<std::string_view, compile_operation_function>;

void add_control_operations(operation_table& table);    // If, Loop, Scan, SequenceMap
void add_sequence_operations(operation_table& table);   // Sequence…, Optional…, Split…, Concat…
void add_selection_operations(operation_table& table);  // NonZero, Compress, Unique, NonMax…
void add_string_operations(operation_table& table);     // StringConcat, StringSplit, Regex…, …

// Any operator that moves or compares elements, on strings; null if it is none.
std::unique_ptr<operation> compile_on_strings(const operation_compile_context& context);
bool works_on_strings(const node& n);

}  // namespace mizzen::inference::detail
