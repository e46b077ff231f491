// What steps hand to each other on disk: a file or a folder with a type and metadata.
#pragma once

#include <mizzen/core/json.hpp>

#include <concepts>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::pipelines {

// An artifact of any type: a path to a file or folder, and metadata. A value.
//
// Artifact types derive from it and say their schema title, in the words of Kubeflow Pipelines
// (kfp.dsl.Artifact.schema_title); an application may add its own:
//
//   struct table : mizzen::pipelines::artifact {
//     static constexpr std::string_view type_name = "acme.Table";
//   };
class artifact {
 public:
  static constexpr std::string_view type_name = "system.Artifact";

  // True for types whose whole content may be metadata: such an output needs no file.
  static constexpr bool content_optional = false;

  artifact() = default;
  explicit artifact(std::filesystem::path path, json about = json::object());

  // Where the content is (inputs: read only, please) or is to be written (outputs). The path of an
  // output is a temporary one: it is renamed to its final place when the step has returned.
  const std::filesystem::path& path() const noexcept { return path_; }

  // The path as a file URI (RFC 8089), absolute and percent-encoded.
  std::string uri() const;

  // An object; travels with the artifact and is part of what the cache compares.
  json metadata = json::object();

  // The whole content of a file. Throws error(not_found) if there is no readable file.
  std::string read() const;

  // Replaces the content by these bytes. Throws error(unavailable) if they cannot be written.
  void write(std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

// A type that travels as an artifact.
template <class T>
concept artifact_type = std::derived_from<T, artifact> && requires {
  { T::type_name } -> std::convertible_to<std::string_view>;
};

struct dataset : artifact {
  static constexpr std::string_view type_name = "system.Dataset";
};

struct model : artifact {
  static constexpr std::string_view type_name = "system.Model";
};

// Scalar metrics, kept in the metadata: {"accuracy": 0.97}.
struct metrics : artifact {
  static constexpr std::string_view type_name = "system.Metrics";
  static constexpr bool content_optional = true;

  // Throws error(out_of_range) for a value that is not finite (JSON has none).
  void log(std::string_view name, double value);
};

// Confusion matrix and ROC curve, kept in the metadata as the KFP UI reads them
// (kfp.dsl.ClassificationMetrics: "confusionMatrix", "confidenceMetrics").
struct classification_metrics : artifact {
  static constexpr std::string_view type_name = "system.ClassificationMetrics";
  static constexpr bool content_optional = true;

  // rows[i][j]: how many of category i were taken for category j. Square, one row per category;
  // anything else throws error(invalid_argument).
  void log_confusion_matrix(std::span<const std::string> categories,
                            const std::vector<std::vector<double>>& rows);

  // One point of the curve per index; the three have equal length, else error(invalid_argument).
  void log_roc_curve(std::span<const double> false_positive_rate,
                     std::span<const double> true_positive_rate, std::span<const double> threshold);
};

struct html : artifact {
  static constexpr std::string_view type_name = "system.HTML";
};

struct markdown : artifact {
  static constexpr std::string_view type_name = "system.Markdown";
};

}  // namespace mizzen::pipelines
