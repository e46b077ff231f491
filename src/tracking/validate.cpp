#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace mizzen::tracking::detail {
namespace {

[[noreturn]] void refuse(std::string_view field, std::string_view message) {
  throw error(errc::invalid_argument, field, message);
}

// Whether a byte is ASCII that needs no further look in a key.
constexpr std::array<bool, 128> key_characters = [] {
  std::array<bool, 128> allowed{};
  for (int c = 0; c < 128; ++c) {
    allowed[static_cast<std::size_t>(c)] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                           (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                                           c == '.' || c == ':' || c == '/' || c == ' ';
  }
  return allowed;
}();

// Number of characters, or nothing when the text is not UTF-8 or holds a NUL.
std::optional<std::size_t> characters(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++count) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead == 0) return std::nullopt;
    std::size_t length = 1;
    unsigned code = lead;
    if (lead >= 0x80) {
      if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
        code = lead & 0x1fU;
      } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        code = lead & 0x0fU;
      } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        code = lead & 0x07U;
      } else {
        return std::nullopt;
      }
      if (text.size() - i < length) return std::nullopt;
      for (std::size_t k = 1; k < length; ++k) {
        const auto next = static_cast<unsigned char>(text[i + k]);
        if ((next & 0xc0U) != 0x80) return std::nullopt;
        code = (code << 6) | (next & 0x3fU);
      }
      const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
      const bool surrogate = code >= 0xd800 && code <= 0xdfff;
      if (overlong || surrogate || code > 0x10ffff) return std::nullopt;
    }
    i += length;
  }
  return count;
}

std::string quoted(std::string_view text) {
  constexpr std::size_t most = 80;
  return "'" + std::string(text.substr(0, most)) + (text.size() > most ? "…'" : "'");
}

// The value of a key; a refusal names the key too.
void check_value(std::string_view field, std::string_view key, std::string_view value,
                 std::size_t limit) {
  try {
    check_text(field, value, limit);
  } catch (const error& e) {
    refuse(std::string(field) + "['" + std::string(key) + "']", e.message());
  }
}

// Whether a name, taken as a path, would resolve to another one.
bool resolves_elsewhere(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.starts_with("..")) return true;
  for (std::size_t start = 0; start <= name.size();) {
    const std::size_t end = std::min(name.find('/', start), name.size());
    const std::string_view part = name.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return true;
    start = end + 1;
  }
  return false;
}

std::string indexed(std::string_view list, std::size_t index, std::string_view field) {
  return std::string(list) + "[" + std::to_string(index) + "]." + std::string(field);
}

void check_count(std::string_view what, std::size_t count, std::size_t most) {
  if (count <= most) return;
  throw error(errc::invalid_argument, what,
              std::to_string(count) + " in one batch, at most " + std::to_string(most) +
                  " are allowed; split it");
}

}  // namespace

void check_text(std::string_view field, std::string_view text, std::optional<std::size_t> limit) {
  const auto length = characters(text);
  if (!length) refuse(field, "it is not valid UTF-8, or holds a NUL character");
  if (limit && *length > *limit) {
    refuse(field, "it has " + std::to_string(*length) + " characters, at most " +
                      std::to_string(*limit) + " are allowed");
  }
}

void check_key(std::string_view field, std::string_view key) {
  if (key.empty()) refuse(field, "it is empty; give it a name");
  check_text(field, key, limits::key_length);
  // Letters of other scripts are allowed by MLflow too; which of them are letters is left to it.
  const bool well_formed = std::all_of(key.begin(), key.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || key_characters[byte];
  });
  if (!well_formed) {
    refuse(field, quoted(key) +
                      " may only have letters, digits, underscores (_), dashes (-), periods (.), "
                      "spaces, colons (:) and slashes (/)");
  }
  if (resolves_elsewhere(key)) {
    refuse(field, quoted(key) +
                      " would resolve to another name when taken as a path; leave out empty parts, "
                      "'.', '..' and a leading '/'");
  }
}

void check_metric(std::string_view key, std::optional<std::int64_t> timestamp) {
  check_key("metric.key", key);
  if (timestamp && *timestamp < 0) {
    refuse("metric.timestamp",
           "it is " + std::to_string(*timestamp) + "; Unix milliseconds are not negative");
  }
}

void check_param(std::string_view key, std::string_view value) {
  check_key("param.key", key);
  check_value("param.value", key, value, limits::param_length);
}

void check_tag(std::string_view key, std::string_view value) {
  check_key("tag.key", key);
  check_value("tag.value", key, value, limits::tag_length);
}

void check_experiment_name(std::string_view name) {
  if (name.empty()) refuse("experiment.name", "it is empty; give it a name");
  check_text("experiment.name", name, limits::experiment_name_length);
}

void check_model_name(std::string_view name) {
  constexpr std::string_view field = "registered_model.name";
  const bool blank =
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isspace(c) != 0; });
  if (blank) refuse(field, "it is empty; give it a name");
  check_text(field, name, 256);
  if (name.find_first_of("/:") != std::string_view::npos) {
    refuse(field, quoted(name) + " must not have '/' or ':'");
  }
  if (resolves_elsewhere(name)) refuse(field, quoted(name) + " is the name of a folder");
}

void check_logged_model_name(std::string_view name) {
  constexpr std::string_view field = "model.name";
  if (name.empty()) refuse(field, "it is empty; give it a name");
  check_text(field, name, 500);
  if (name.find_first_of("/:.%\"'") != std::string_view::npos) {
    refuse(field, quoted(name) + " must not have any of / : . % \" '");
  }
}

void check_alias(std::string_view alias) {
  constexpr std::string_view field = "alias";
  if (alias.empty()) refuse(field, "it is empty; give it a name, as champion");
  check_text(field, alias, limits::alias_length);
  const bool well_formed = std::all_of(alias.begin(), alias.end(), [](unsigned char c) {
    return c >= 0x80 || std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  if (!well_formed) {
    refuse(field, quoted(alias) + " may only have letters, digits, underscores and dashes");
  }
  std::string lower(alias);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const bool is_version =
      lower.size() > 1 && lower[0] == 'v' &&
      std::all_of(lower.begin() + 1, lower.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (lower == "latest" || is_version) {
    refuse(field, quoted(alias) + " is reserved by MLflow; choose another");
  }
}

void check_artifact_path(std::string_view field, std::string_view path, bool may_be_empty) {
  if (path.empty()) {
    if (may_be_empty) return;
    refuse(field, "it is empty; name a file, as plots/loss.svg");
  }
  check_text(field, path);
  if (resolves_elsewhere(path) || path.find('\\') != std::string_view::npos) {
    refuse(field, quoted(path) +
                      " must be a path inside the artifact folder, as plots/loss.svg, without "
                      "empty parts, '.', '..' or backslashes");
  }
}

void check_experiment_tag(std::string_view key, std::string_view value) {
  check_key("tag.key", key);
  check_text("tag.value", value, limits::experiment_tag_length);
}

void check_registry_tag(std::string_view key, std::string_view value) {
  check_key("tag.key", key);
  check_text("tag.value", value, limits::registry_tag_length);
}

void check_archiving(model_stage stage, bool archive_existing) {
  if (!archive_existing || stage == model_stage::staging || stage == model_stage::production)
    return;
  refuse("archive_existing",
         "versions are archived for one that goes to Staging or Production only");
}

model_stage read_stage(std::string_view text) noexcept {
  for (const auto stage : {model_stage::staging, model_stage::production, model_stage::archived}) {
    if (text == to_string(stage)) return stage;
  }
  return model_stage::none;
}

void check_model_param(std::string_view key, std::string_view value) {
  check_key("model.params.key", key);
  check_text("model.params.value", value, limits::param_length);
}

void check_logged_model(const logged_model_options& options) {
  check_logged_model_name(options.name);
  check_text("model.run_id", options.run_id, 32);
  check_text("model.model_type", options.model_type, 500);
  for (const auto& [key, value] : options.params) check_model_param(key, value);
  for (const auto& [key, value] : options.tags) {
    check_key("model.tags.key", key);
    check_text("model.tags.value", value, limits::tag_length);
  }
}

void check_model_metrics(std::span<const metric> points, std::string_view dataset_name,
                         std::string_view dataset_digest) {
  for (const metric& point : points) {
    check_metric(point.key, point.timestamp);
    if (point.value != point.value) {
      refuse("metric.value", "it is NaN, which MLflow does not keep of a logged model");
    }
  }
  check_text("dataset.name", dataset_name, limits::dataset_name_length);
  check_text("dataset.digest", dataset_digest, limits::dataset_digest_length);
}

void check_final(logged_model_status status) {
  if (status == logged_model_status::ready || status == logged_model_status::failed) return;
  refuse("model.status", "a model ends ready or failed");
}

void check_history_page(std::size_t max_results) {
  if (max_results >= 1 && max_results <= 25'000) return;
  refuse("max_results", "it is " + std::to_string(max_results) + "; a page has 1 to 25,000 points");
}

void check_history_sample(const history_sample& options) {
  if (options.max_points < 1 || options.max_points > 2'500) {
    refuse("history_sample.max_points",
           "it is " + std::to_string(options.max_points) + "; 1 to 2,500 are possible");
  }
  if (options.first_step.has_value() != options.last_step.has_value()) {
    refuse("history_sample.last_step", "first_step and last_step come together");
  }
  if (options.first_step && *options.first_step > *options.last_step) {
    refuse("history_sample.last_step", "it is before first_step");
  }
}

void check_batch(std::span<const metric> metrics, const string_map& params,
                 const string_map& tags) {
  check_count("metrics", metrics.size(), limits::metrics_per_batch);
  check_count("params", params.size(), limits::params_per_batch);
  check_count("tags", tags.size(), limits::tags_per_batch);
  check_count("metrics, params and tags", metrics.size() + params.size() + tags.size(),
              limits::entities_per_batch);
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    try {
      check_metric(metrics[i].key, metrics[i].timestamp);
    } catch (const error& e) {
      const auto dot = e.subject().rfind('.');
      throw error(e.code(), indexed("metrics", i, e.subject().substr(dot + 1)), e.message());
    }
  }
  for (const auto& [key, value] : params) check_param(key, value);
  for (const auto& [key, value] : tags) check_tag(key, value);
}

bool is_entity_id(std::string_view id) noexcept {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (id.empty() || id.size() > 36 || !is_letter(id.front())) return false;
  return std::all_of(id.begin(), id.end(),
                     [&](char c) { return is_letter(c) || c == '-' || c == '_'; });
}

}  // namespace mizzen::tracking::detail
