#include "tracking/xml.hpp"

#include "core/utf8.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t most_depth = 32;
constexpr std::size_t most_elements = 100'000;
constexpr std::string_view blanks = " \t\r\n";

constexpr std::array<std::pair<std::string_view, char>, 5> entities = {
    {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}}};

[[noreturn]] void refuse(std::string_view why) {
  throw error(errc::data_loss, "answer", "it is not XML as expected: " + std::string(why));
}

class reader {
 public:
  explicit reader(std::string_view text) : rest_(text) {}

  xml_element document() {
    skip(std::string_view("\xef\xbb\xbf"));
    skip_misc();
    xml_element root = element(0);
    skip_misc();
    if (!rest_.empty()) refuse("something follows it");
    return root;
  }

 private:
  bool skip(std::string_view what) {
    if (!rest_.starts_with(what)) return false;
    rest_.remove_prefix(what.size());
    return true;
  }

  std::string_view take_until(std::string_view end) {
    const auto at = rest_.find(end);
    if (at == std::string_view::npos) refuse("it ends too soon");
    const std::string_view taken = rest_.substr(0, at);
    rest_.remove_prefix(at + end.size());
    return taken;
  }

  void skip_blanks() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(blanks), rest_.size()));
  }

  // Blanks, comments and instructions around the root.
  void skip_misc() {
    for (;;) {
      skip_blanks();
      if (skip("<?")) {
        take_until("?>");
      } else if (skip("<!--")) {
        take_until("-->");
      } else {
        return;
      }
    }
  }

  std::string_view take_name() {
    const std::string_view name = rest_.substr(0, rest_.find_first_of(" \t\r\n/>=<&\"'"));
    if (name.empty()) refuse("a tag without a name");
    rest_.remove_prefix(name.size());
    return name;
  }

  // What is between the name and the end of a tag; true for one that is its own end tag.
  bool skip_attributes() {
    for (;;) {
      skip_blanks();
      if (skip("/>")) return true;
      if (skip(">")) return false;
      take_name();
      skip_blanks();
      if (!skip("=")) refuse("an attribute without a value");
      skip_blanks();
      if (skip("\"")) {
        take_until("\"");
      } else if (skip("'")) {
        take_until("'");
      } else {
        refuse("an attribute without quotes");
      }
    }
  }

  void append_text(std::string& out, std::string_view text) {
    while (!text.empty()) {
      const auto mark = std::min(text.find('&'), text.size());
      out += text.substr(0, mark);
      text.remove_prefix(mark);
      if (text.empty()) return;
      const auto end = text.find(';');
      if (end == std::string_view::npos || end > 12) refuse("an '&' that begins nothing");
      const std::string_view name = text.substr(1, end - 1);
      text.remove_prefix(end + 1);
      if (name.starts_with('#')) {
        const bool is_hex = name.starts_with("#x");
        const std::string_view digits = name.substr(is_hex ? 2 : 1);
        std::uint32_t number = 0;
        const auto [last, failed] =
            std::from_chars(digits.data(), digits.data() + digits.size(), number, is_hex ? 16 : 10);
        if (failed != std::errc{} || last != digits.data() + digits.size()) {
          refuse("a character that is no number");
        }
        if (number == 0 || number > 0x10ffff || (number >= 0xd800 && number < 0xe000)) {
          refuse("a character that is none");
        }
        mizzen::detail::append_utf8(out, number);
        continue;
      }
      const auto* const known =
          std::ranges::find(entities, name, [](const auto& each) { return each.first; });
      if (known == entities.end()) refuse("an entity of its own");
      out += known->second;
    }
  }

  xml_element element(std::size_t depth) {
    if (depth > most_depth) refuse("it is nested more than 32 deep");
    if (++elements_ > most_elements) refuse("it has more than 100,000 elements");
    if (!skip("<")) refuse("a tag is missing");
    const std::string_view tag = take_name();
    xml_element made;
    made.name = tag.substr(tag.find(':') + 1);
    if (skip_attributes()) return made;
    for (;;) {
      append_text(made.text, rest_.substr(0, rest_.find('<')));
      rest_.remove_prefix(std::min(rest_.find('<'), rest_.size()));
      if (skip("</")) {
        if (take_name() != tag) refuse("an end tag of another name");
        skip_blanks();
        if (!skip(">")) refuse("an end tag without an end");
        return made;
      }
      if (skip("<!--")) {
        take_until("-->");
      } else if (skip("<![CDATA[")) {
        made.text += take_until("]]>");
      } else if (skip("<?")) {
        take_until("?>");
      } else {
        made.children.push_back(element(depth + 1));
      }
    }
  }

  std::string_view rest_;
  std::size_t elements_ = 0;
};

}  // namespace

const xml_element* xml_element::find(std::string_view child) const noexcept {
  const auto found = std::ranges::find(children, child, &xml_element::name);
  return found == children.end() ? nullptr : &*found;
}

std::string_view xml_element::value(std::string_view child) const noexcept {
  const xml_element* found = find(child);
  return found != nullptr ? std::string_view(found->text) : std::string_view();
}

xml_element parse_xml(std::string_view text) { return reader(text).document(); }

std::string escape_xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto* const known =
        std::ranges::find(entities, c, [](const auto& each) { return each.second; });
    if (known == entities.end()) {
      out += c;
    } else {
      out.append("&").append(known->first).append(";");
    }
  }
  return out;
}

}  // namespace mizzen::tracking::detail
