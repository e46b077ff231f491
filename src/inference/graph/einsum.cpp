#include "inference/graph/einsum.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <string>

namespace mizzen::inference::detail {
namespace {

constexpr char ellipsis = '.';
constexpr std::size_t unused = static_cast<std::size_t>(-1);

[[noreturn]] void fail(std::string_view equation, std::string_view why) {
  throw error(errc::invalid_argument, "attribute 'equation'",
              "'" + std::string(equation) + "': " + std::string(why));
}

// "a...b" as letters, one '.' for the ellipsis.
std::string letters_of(std::string_view term, std::string_view equation) {
  std::string letters;
  for (std::size_t i = 0; i < term.size(); ++i) {
    const char ch = term[i];
    if (ch == ' ') continue;
    if (term.substr(i, 3) == "...") {
      if (letters.find(ellipsis) != std::string::npos) fail(equation, "two ellipses in one term");
      letters += ellipsis;
      i += 2;
    } else if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')) {
      letters += ch;
    } else {
      fail(equation, "only letters, commas, ellipses and one arrow may stand there");
    }
  }
  return letters;
}

}  // namespace

einsum_terms parse_einsum(std::string_view equation, const std::vector<std::size_t>& ranks) {
  const std::size_t arrow = equation.find("->");
  std::string_view left = equation.substr(0, arrow);
  std::vector<std::string> terms;
  while (true) {
    const std::size_t comma = left.find(',');
    terms.push_back(letters_of(left.substr(0, comma), equation));
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  if (terms.size() != ranks.size()) fail(equation, "it has not one term for each input");
  std::size_t broadcast = 0;
  std::array<std::size_t, 128> uses{};
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const bool open = terms[i].find(ellipsis) != std::string::npos;
    const std::size_t named = terms[i].size() - (open ? 1 : 0);
    if (ranks[i] < named || (!open && ranks[i] != named)) {
      fail(equation, "a term does not fit the rank of its input");
    }
    if (open) broadcast = std::max(broadcast, ranks[i] - named);
    for (const char ch : terms[i]) ++uses[static_cast<unsigned char>(ch)];
  }
  std::string output;
  if (arrow != std::string_view::npos) {
    output = letters_of(equation.substr(arrow + 2), equation);
  } else {
    if (uses[static_cast<unsigned char>(ellipsis)] != 0) output += ellipsis;
    for (char ch = 'A'; ch <= 'z'; ++ch) {
      if (ch != ellipsis && uses[static_cast<unsigned char>(ch)] == 1) output += ch;
    }
  }
  einsum_terms result;
  result.labels = broadcast;  // those of the ellipsis come first
  std::array<std::size_t, 128> label{};
  label.fill(unused);
  const auto expand = [&](const std::string& term, std::size_t open_dims) {
    std::vector<std::size_t> labels;
    for (const char ch : term) {
      if (ch == ellipsis) {
        for (std::size_t d = broadcast - open_dims; d < broadcast; ++d) labels.push_back(d);
        continue;
      }
      std::size_t& l = label[static_cast<unsigned char>(ch)];
      if (l == unused) l = result.labels++;
      labels.push_back(l);
    }
    return labels;
  };
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const bool open = terms[i].find(ellipsis) != std::string::npos;
    result.operands.push_back(expand(terms[i], open ? ranks[i] - (terms[i].size() - 1) : 0));
  }
  for (std::size_t i = 0; i < output.size(); ++i) {
    const char ch = output[i];
    if (uses[static_cast<unsigned char>(ch)] == 0 && ch != ellipsis) {
      fail(equation, "a letter of the output is in no input");
    }
    if (output.find(ch, i + 1) != std::string::npos) fail(equation, "the output repeats a letter");
  }
  result.output = expand(output, broadcast);
  return result;
}

}  // namespace mizzen::inference::detail
