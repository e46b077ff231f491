#include <mizzen/kubernetes/client.hpp>

namespace mizzen::kubernetes {
namespace {

// What is left of a header's value. Each step is false (or empty) where it does not fit.
struct cursor {
  std::string_view rest;

  void skip_space() {
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
  }

  std::string_view word() {
    const std::string_view found = rest.substr(0, rest.find_first_of(" \t,\""));
    rest.remove_prefix(found.size());
    return found;
  }

  // RFC 9110's quoted-string, with the quotes and backslashes gone.
  bool quoted(std::string& to) {
    if (!rest.starts_with('"')) return false;
    rest.remove_prefix(1);
    while (!rest.empty() && rest.front() != '"') {
      if (rest.front() == '\\') rest.remove_prefix(1);
      if (rest.empty()) return false;
      to += rest.front();
      rest.remove_prefix(1);
    }
    if (rest.empty()) return false;
    rest.remove_prefix(1);
    return true;
  }
};

}  // namespace

// RFC 7234, section 5.5: warn-code SP warn-agent SP warn-text [ SP warn-date ], in a list.
std::vector<warning> parse_warnings(const http::headers& headers) {
  constexpr std::size_t most = 100;
  std::vector<warning> found;
  for (const std::string_view value : headers.values("Warning")) {
    cursor in{value};
    while (!in.rest.empty() && found.size() < most) {
      in.skip_space();
      const std::string_view code = in.word();
      in.skip_space();
      warning one;
      one.agent = in.word();
      in.skip_space();
      if (one.agent.empty() || !in.quoted(one.text)) break;
      if (code == "299" && !one.text.empty()) found.push_back(std::move(one));
      in.skip_space();
      std::string date;
      if (in.rest.starts_with('"') && !in.quoted(date)) break;
      in.skip_space();
      if (!in.rest.starts_with(',')) break;
      in.rest.remove_prefix(1);
    }
  }
  return found;
}

}  // namespace mizzen::kubernetes
