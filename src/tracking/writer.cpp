#include "tracking/writer.hpp"

#include "tracking/names.hpp"

#ifdef MIZZEN_TRACKING_HTTP
#include "tracking/otlp_settings.hpp"
#endif

#include <mizzen/core/json.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view store_prefix = "sqlite:///";
constexpr std::size_t least_segment = wal_least_cells * wal_cell_size;
constexpr std::size_t most_segment = wal_most_cells * wal_cell_size;

// FNV-1a
std::string hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  std::array<char, 24> hex{};
  std::snprintf(hex.data(), hex.size(), "%016llx", static_cast<unsigned long long>(hash));
  return hex.data();
}

// $XDG_STATE_HOME, else ~/.local/state (XDG Base Directory Specification).
std::filesystem::path state_folder() {
  const char* named = std::getenv("XDG_STATE_HOME");
  if (named != nullptr && *named == '/') return named;
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') {
    throw error(errc::failed_precondition, "client_options.writer.directory",
                "there is no home folder to keep the write-ahead log in; name a folder, or set "
                "XDG_STATE_HOME");
  }
  return std::filesystem::path(home) / ".local" / "state";
}

std::filesystem::path directory_of(const backend& backend, const writer_options& options) {
  if (!options.directory.empty()) return std::filesystem::absolute(options.directory);
  const std::string& uri = backend.uri();
  if (!backend.is_remote()) return uri.substr(store_prefix.size()) + ".mizzen-wal";
  return state_folder() / "mizzen" / "tracking" / hash_of(uri);
}

void check(const writer_options& options) {
  if (options.segment_size < least_segment || options.segment_size > most_segment) {
    throw error(errc::invalid_argument, "client_options.writer.segment_size",
                "it is " + std::to_string(options.segment_size) + " bytes; take " +
                    std::to_string(least_segment) + " to " + std::to_string(most_segment));
  }
  if (options.total_size < 2 * options.segment_size) {
    throw error(errc::invalid_argument, "client_options.writer.total_size",
                "it is " + std::to_string(options.total_size) +
                    " bytes; take at least two segments, " +
                    std::to_string(2 * options.segment_size));
  }
}

// What whoever adopts the log has to know, as JSON.
std::string about(const backend& backend, const writer_options& options, json otlp) {
  json out = {{"store", backend.uri()}};
  if (!options.tensorboard.empty()) {
    out["tensorboard"] = std::filesystem::absolute(options.tensorboard).string();
  }
  if (!otlp.is_null()) out["otlp"] = std::move(otlp);
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

std::shared_ptr<drain> open_writer(const std::shared_ptr<backend>& backend,
                                   const client_options& options) {
  check(options.writer);
  json otlp_about_it;
#ifdef MIZZEN_TRACKING_HTTP
  const auto otlp =
      resolve_otlp_settings(options.writer.otlp, process_environment(),
                            std::filesystem::path(process_program()).filename().string());
  if (otlp) otlp_about_it = otlp_about(*otlp);
#else
  if (options.writer.otlp.enabled.value_or(!options.writer.otlp.endpoint.empty())) {
    throw error(errc::unimplemented, "client_options.writer.otlp",
                "this library was built without HTTP");
  }
#endif
  drain::options chosen;
  chosen.log = {.directory = directory_of(*backend, options.writer),
                .segment_size = options.writer.segment_size,
                .total_size = options.writer.total_size,
                .patience = options.writer.patience,
                .power = options.durability == durability::power,
                .about = about(*backend, options.writer, std::move(otlp_about_it))};
  chosen.close_timeout = options.writer.close_timeout;
  chosen.settle_timeout = options.busy_timeout;
  chosen.report = options.log;
  std::vector<drain_sink> sinks;
  // The drain knows when to try again, and can be told to try at once.
  auto target = backend->without_patience();
  sinks.push_back({.name = "store",
                   .slot = 0,
                   .required = true,
                   .sink = make_store_sink(target ? std::move(target) : backend)});
  // The others are always there, for logs of dead processes that had them.
  sinks.push_back({.name = "tensorboard",
                   .slot = 1,
                   .required = false,
                   .sink = make_tensorboard_sink(),
                   .wanted = [](std::string_view of) { return !tensorboard_folder(of).empty(); }});
#ifdef MIZZEN_TRACKING_HTTP
  sinks.push_back({.name = "opentelemetry",
                   .slot = 2,
                   .required = false,
                   .sink = make_otlp_sink(otlp ? &*otlp : nullptr, options.log),
                   .patience = options.writer.otlp.patience,
                   .wanted = [](std::string_view of) { return otlp_target_of(of).has_value(); }});
#endif
  return drain::make(std::move(chosen), std::move(sinks));
}

void settle(drain& writer, const backend& backend) {
  if (writer.flush(deadline::after(writer.settle_timeout()), drain::upto::required_sinks)) return;
  backend.log().log(log_level::warning, "tracking",
                    "what was logged is not in the store yet, so that it cannot be read",
                    {{"store", backend.uri()}, {"error", writer.status().last_error}});
}

}  // namespace mizzen::tracking::detail
