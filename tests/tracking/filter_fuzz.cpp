// Any text as a filter, an order, a list and a page token: clauses within the bounds, or
// error(invalid_argument); and what is quoted for a filter comes back from it.
#include "tracking/filter.hpp"
#include "tracking/page_token.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/search.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace mizzen::tracking;

template <typename Work>
void refused_or_done(Work&& work) {
  try {
    work();
  } catch (const mizzen::error& e) {
    if (e.code() != mizzen::errc::invalid_argument) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  using enum detail::entity;
  for (const detail::entity of :
       {run, experiment, registered_model, model_version, logged_model, trace}) {
    refused_or_done([&] {
      if (detail::parse_filter(of, text).size() > detail::filter_clauses) std::abort();
    });
    if (of != logged_model) refused_or_done([&] { detail::parse_order(of, text, 0); });
  }
  refused_or_done([&] { detail::read_page_token(text); });
  refused_or_done([&] {
    const std::string quoted = quoted_text(text);
    const auto clauses = detail::parse_filter(run, "tags.a = " + quoted + " AND tags.b = ''");
    if (clauses.size() != 2 || std::get<std::string>(clauses[0].value) != text) std::abort();
  });
  return 0;
}
