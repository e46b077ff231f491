#pragma once

#include <cstddef>

namespace mizzen::inference::detail::cpu {

constexpr std::size_t divide_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }
constexpr std::size_t round_up(std::size_t a, std::size_t b) { return divide_up(a, b) * b; }

}  // namespace mizzen::inference::detail::cpu
