// XML as object stores answer it: elements and their text. No document types, no entities but the
// five of XML itself and characters by number; attributes and namespaces are skipped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

struct xml_element {
  std::string name = {};  // without a prefix
  std::string text = {};  // directly in it
  std::vector<xml_element> children = {};

  // The first child of the name, or null; its text, or nothing.
  const xml_element* find(std::string_view child) const noexcept;
  std::string_view value(std::string_view child) const noexcept;
};

// Throws error(data_loss) for what is not well formed, is nested more than 32 deep or has more than
// 100,000 elements.
xml_element parse_xml(std::string_view text);

// Text for between two tags.
std::string escape_xml(std::string_view text);

}  // namespace mizzen::tracking::detail
