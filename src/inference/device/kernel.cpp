#include "inference/device/kernel.hpp"

#include <string>

namespace mizzen::inference::detail {

element_type compile_context::input_type(std::size_t i) const noexcept {
  return has_input(i) ? g.values[n.inputs[i]].type : element_type::undefined;
}

element_type compile_context::output_type(std::size_t i) const noexcept {
  return has_output(i) ? g.values[n.outputs[i]].type : element_type::undefined;
}

std::shared_ptr<const tensor> compile_context::constant(std::size_t i) const noexcept {
  return has_input(i) ? g.values[n.inputs[i]].constant : nullptr;
}

void compile_context::unsupported(std::string_view what) const {
  throw error(errc::unimplemented, describe(n), what);
}

void compile_context::invalid(std::string_view what) const {
  throw error(errc::invalid_argument, describe(n), what);
}

}  // namespace mizzen::inference::detail
