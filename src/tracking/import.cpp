#include "tracking/client_parts.hpp"
#include "tracking/import_sources.hpp"
#include "tracking/transfer_job.hpp"
#include "tracking/writer.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/import.hpp>

#include <filesystem>
#include <string>
#include <system_error>

namespace mizzen::tracking {
namespace {

namespace fs = std::filesystem;

// Absolute and without links and dots, so that it has a name.
fs::path existing_folder(const fs::path& folder) {
  std::error_code failed;
  const fs::path real = fs::canonical(folder, failed);
  if (!failed && fs::is_directory(real, failed)) return real;
  throw error(failed == std::errc::permission_denied ? errc::permission_denied : errc::not_found,
              "folder '" + folder.string() + "'",
              failed ? failed.message() : std::string("it is no folder"));
}

transfer_report run_import(detail::transfer_source& from, client& to,
                           const transfer_options& options) {
  const auto [target, log] = detail::client_parts::of(to);
  detail::settle(*log, *target);
  return detail::transfer_job(from, *target, options).run();
}

}  // namespace

transfer_report import_file_store(const fs::path& folder, client& to,
                                  const transfer_options& options) {
  return run_import(*detail::make_file_store_source(existing_folder(folder)), to, options);
}

transfer_report import_tensorboard(const fs::path& folder, client& to,
                                   const tensorboard_import_options& options) {
  const fs::path real = existing_folder(folder);
  const std::string name =
      options.experiment.empty() ? real.filename().string() : options.experiment;
  const auto source = detail::make_tensorboard_source(real, name);
  return run_import(*source, to, {.cancel = options.cancel, .progress = options.progress});
}

}  // namespace mizzen::tracking
