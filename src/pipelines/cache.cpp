#include "pipelines/cache.hpp"

#include "core/sha256.hpp"
#include "pipelines/files.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace mizzen::pipelines::detail {
namespace {

namespace fs = std::filesystem;
using mizzen::detail::sha256_hex;

constexpr int format = 1;

// Thrown and caught in here: why an entry is not believed.
[[noreturn]] void doubt(std::string_view why) { throw error(errc::data_loss, "cache entry", why); }

bool fits(const json& value, parameter_kind kind) {
  switch (kind) {
    case parameter_kind::string:
      return value.is_string();
    case parameter_kind::integer:
      return value.is_number_integer();
    case parameter_kind::number:
      return value.is_number();
    case parameter_kind::boolean:
      return value.is_boolean();
    case parameter_kind::list:
      return value.is_array();
    case parameter_kind::structure:
      return true;
  }
  return false;
}

fs::path path_under(const fs::path& root, const std::string& relative) {
  const fs::path path(relative);
  const bool leaves =
      path.is_absolute() ||
      std::any_of(path.begin(), path.end(), [](const auto& part) { return part == ".."; });
  if (leaves) doubt("a path leads out of the root folder");
  return root / path;
}

stored_outputs parse(const json& entry, const std::string& key, const component_spec& component,
                     const fs::path& root, const cancellation& cancel) {
  if (entry.at("format") != format || entry.at("key") != key) doubt("another format or key");
  json rest = entry;
  rest.erase("checksum");
  if (entry.at("checksum") != sha256_hex(rest.dump())) doubt("the checksum is wrong");

  stored_outputs outputs;
  for (const output_parameter& output : component.output_parameters) {
    const json& value = entry.at("parameters").at(output.name);
    // An optional may be null whatever its kind.
    if (!value.is_null() && !fits(value, output.kind)) doubt("a parameter has another type");
    outputs.parameters[output.name] = value;
  }
  for (const output_artifact& output : component.output_artifacts) {
    const json& kept = entry.at("artifacts").at(output.name);
    stored_artifact artifact{
        pipelines::artifact(path_under(root, kept.at("path").get<std::string>()),
                            kept.at("metadata")),
        kept.at("type").get<std::string>(), kept.at("digest").get<std::string>()};
    if (artifact.type != output.type) doubt("an artifact has another type");
    const bool has_content = !artifact.digest.empty();
    if (!has_content && !output.content_optional) doubt("an artifact has no content");
    if (has_content && digest_of(artifact.value.path(), cancel) != artifact.digest) {
      doubt("the content of '" + output.name + "' has changed since");
    }
    outputs.artifacts.emplace(output.name, std::move(artifact));
  }
  return outputs;
}

}  // namespace

std::string cache_key(const std::string& pipeline, const component_spec& component,
                      const task_spec& task, const std::map<std::string, json>& parameters,
                      const input_artifacts& artifacts) {
  json inputs = json::object();
  for (const auto& [name, list] : artifacts) {
    json contents = json::array();
    for (const stored_artifact& each : list) {
      contents.push_back(
          {{"type", each.type}, {"digest", each.digest}, {"metadata", each.value.metadata}});
    }
    inputs[name] = std::move(contents);
  }
  json outputs = json::object();
  for (const output_parameter& output : component.output_parameters) {
    outputs[output.name] = to_string(output.kind);
  }
  for (const output_artifact& output : component.output_artifacts)
    outputs[output.name] = output.type;
  // Objects of nlohmann::json are sorted by key and doubles are written to round-trip, so that
  // equal values give equal text.
  const json identity = {{"format", format},
                         {"pipeline", pipeline},
                         {"component", component.name},
                         {"version", json::array({component.version, task.version})},
                         {"parameters", parameters},
                         {"artifacts", std::move(inputs)},
                         {"outputs", std::move(outputs)}};
  try {
    return sha256_hex(identity.dump());
  } catch (const json::type_error&) {
    throw error(errc::invalid_argument, task.name, "a parameter or metadata text is not UTF-8",
                std::current_exception());
  }
}

cache_store::cache_store(fs::path root, logger log)
    : root_(std::move(root)), log_(std::move(log)) {}

fs::path cache_store::file_of(const std::string& key) const {
  return root_ / "cache" / key.substr(0, 2) / (key + ".json");
}

std::optional<stored_outputs> cache_store::find(const std::string& key,
                                                const component_spec& component,
                                                const cache_origin& asker,
                                                const cancellation& cancel) const {
  const fs::path file = file_of(key);
  std::error_code problem;
  if (!fs::exists(file, problem)) return std::nullopt;
  try {
    return parse(json::parse(artifact(file).read()), key, component, root_, cancel);
  } catch (const std::exception& why) {
    cancel.check(asker.task);
    log_.log(log_level::info, "pipelines", "cache entry not used",
             {{"task", asker.task}, {"key", key}, {"why", why.what()}});
    return std::nullopt;
  }
}

void cache_store::add(const std::string& key, const stored_outputs& outputs,
                      const cache_origin& origin) const {
  json artifacts = json::object();
  for (const auto& [name, artifact] : outputs.artifacts) {
    artifacts[name] = {{"type", artifact.type},
                       {"path", artifact.value.path().lexically_relative(root_).generic_string()},
                       {"digest", artifact.digest},
                       {"metadata", artifact.value.metadata}};
  }
  json entry = {{"format", format},
                {"key", key},
                {"made_by",
                 {{"pipeline", origin.pipeline},
                  {"run_id", origin.run_id},
                  {"task", origin.task},
                  {"at", format_rfc3339(std::chrono::system_clock::now())}}},
                {"parameters", outputs.parameters},
                {"artifacts", std::move(artifacts)}};
  entry["checksum"] = sha256_hex(entry.dump());
  const fs::path file = file_of(key);
  create_folder(file.parent_path());
  write_whole(file, entry.dump(2));
}

}  // namespace mizzen::pipelines::detail
